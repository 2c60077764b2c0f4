"""A job while this worker holds it: what it waits for, when it last moved, and how it hears news."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum
from queue import SimpleQueue
from threading import Event

from synerdiff.engine.types import ImageReady, Previewed, Snapshot
from synerdiff.ledger import HandBack, HeldJob
from synerdiff.protocol import ErrorInfo, ImageRef, Job, Receipt


class Phase(Enum):
    """What a held job waits for; each phase moves by other signs."""

    WAITING = "waiting"  # for a place in the batch
    ACTIVE = "active"  # for its next step or chunk
    UPLOADING = "uploading"  # for the object store


@dataclass(frozen=True, slots=True)
class Imaged:
    """The engine made an image."""

    image: ImageReady


@dataclass(frozen=True, slots=True)
class Saved:
    """An image is stored, ``upload_s`` seconds after it was made."""

    ref: ImageRef
    receipt: Receipt
    index: int
    upload_s: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The job cannot be finished."""

    error: ErrorInfo


@dataclass(frozen=True, slots=True)
class Moved:
    """The job, which is on trial (``Run.trial``), has stepped; ``at`` is in monotonic seconds."""

    step: int
    steps: int
    at: float


@dataclass(frozen=True, slots=True)
class Previewing:
    """What the job's unfinished images look like."""

    preview: Previewed


@dataclass(frozen=True, slots=True)
class Offered:
    """There is a newer latent checkpoint in ``Run.snapshot``."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The engine gave the job up as it was told to, with what is done of it."""

    kept: Snapshot | None


@dataclass(frozen=True, slots=True)
class Revoked:
    """The record is no longer this worker's to finish; ``reason`` is ``lost``, ``cancelled`` or ``expired``."""

    reason: str


@dataclass(frozen=True, slots=True)
class EngineLost:
    """The engine process ended while the job was in it; ``reason`` says how."""

    reason: str


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Hand the job back to the queue, unharmed: with its latents, or ``at_once``. ``how`` is what the ledger is told:
    whether it makes way for a more urgent job, or alone got past its trial."""

    reason: str
    how: HandBack = ""
    at_once: bool = False


News = Imaged | Saved | Failed | Moved | Previewing | Offered | Gone | Revoked | EngineLost | GiveBack


@dataclass(slots=True, eq=False)
class Run:
    """One claimed job. One thread works on it and reads ``news``; any thread may write there.

    ``token`` is the claim's fencing token, ``level`` the job's priority by now, ``asides`` how often it made way,
    ``queued_s`` the time from submission to the claim, ``moved_at`` (monotonic seconds) the last sign of progress.
    ``trial`` is the step that it must get past alone before it may have company again, ``clear`` the one with which it
    is past it for sure, where known, ``past`` how often it was seen past ``trial``, ``past_at`` when first. ``kept``
    counts the steps in the checkpoint that it goes on from, ``made`` has the indices of its images that the engine has
    made. ``parting`` is set once the engine was told to give the job up, ``over`` once nobody needs its images.
    """

    job: Job
    token: int
    alone: bool = False
    level: int = 5
    asides: int = 0
    kept: int = 0
    trial: int | None = None
    clear: int | None = None
    past: int = 0
    past_at: float = 0.0
    queued_s: float = 0.0
    traceparent: str = ""
    claimed_at: float = field(default_factory=time.monotonic)
    phase: Phase = Phase.WAITING
    moved_at: float = field(default_factory=time.monotonic)
    step: int = 0
    made: set[int] = field(default_factory=set)
    snapshot: Snapshot | None = None
    offered: bool = False
    told_to_leave: bool = False
    parting: GiveBack | None = None
    news: SimpleQueue[News] = field(default_factory=SimpleQueue)
    over: Event = field(default_factory=Event)

    @property
    def id(self) -> str:
        """The job's id."""
        return self.job.id

    @property
    def held_s(self) -> float:
        """Seconds since the claim."""
        return time.monotonic() - self.claimed_at

    def left(self) -> HeldJob | None:
        """What is to step of the job yet; None once its images are made."""
        images = self.job.n - len(self.made)
        if self.phase is Phase.UPLOADING or images <= 0:
            return None
        job, begun = self.job, max(self.step, self.kept // self.job.n)
        waiting = self.phase is Phase.WAITING
        pixels = job.width * job.height
        return HeldJob(
            id=job.id, images=images, steps=job.steps, left=job.steps - begun, pixels=pixels, waiting=waiting
        )

    def moved(self, phase: Phase | None = None) -> None:
        """Note progress, and perhaps the next phase."""
        self.moved_at = time.monotonic()
        if phase is not None:
            self.phase = phase

    def offer(self, snapshot: Snapshot) -> None:
        """Have a latent checkpoint kept, instead of one that nobody has taken yet: they never pile up."""
        self.snapshot = snapshot
        if not self.offered:
            self.offered = True
            self.tell(Offered())

    def tell(self, news: News) -> None:
        """Put ``news`` before the thread that works on the job."""
        self.news.put(news)
