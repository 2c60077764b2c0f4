"""The admission queue: requests of which some images are not in the batch, be it not yet or for now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from synerdiff.engine.sample import Sample
from synerdiff.engine.schedule import Table
from synerdiff.engine.shape import Shape
from synerdiff.engine.snapshot import SavedImage
from synerdiff.engine.text import Conditioning
from synerdiff.engine.types import Request

TOP_LEVEL = 9
MOST_ASIDE = 3  # after so many times a job is set aside no more
AGE_S = 10.0  # what was set aside gains a level every so many seconds that it waits


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """What is known of a request that the model can do: its sampler's table and its group."""

    table: Table
    shape: Shape


@dataclass(slots=True, eq=False)
class Pending:
    """A request in the engine. Images ``next_index`` to ``n - 1`` have never joined, those in ``aside`` had to
    leave for a more urgent job and go on later. Texts are encoded once for all of them.

    ``kept`` is a latent checkpoint as it came, ``saved`` what is in it. ``raised`` are the levels above its
    priority that it gained by being set aside and by waiting then.
    """

    request: Request
    order: int
    kept: bytes | None = None
    saved: Mapping[int, SavedImage] = field(default_factory=dict)
    next_index: int = 0
    checked: Checked | None = None
    conditioning: Conditioning | None = None
    encode_s: float = 0.0
    aside: list[Sample] = field(default_factory=list)
    times_aside: int = 0
    raised: int = 0
    aside_since: float = 0.0

    @property
    def left(self) -> int:
        """Images that wait."""
        return self.request.n - self.next_index + len(self.aside)

    @property
    def may_leave(self) -> bool:
        """Whether its images may be set aside (once more)."""
        return self.times_aside < MOST_ASIDE

    def level(self, now: float) -> int:
        """The priority it has by now, in the queue and in the batch."""
        age = int((now - self.aside_since) / AGE_S) if self.aside else 0
        return min(TOP_LEVEL, self.request.priority + self.raised + age)

    def set_aside(self, sample: Sample, now: float, *, rises: bool = True) -> None:
        """Let an image that left the batch wait for its return: the job rises by one level, once for all images.

        It does not rise where it left for want of memory, or it would only change places with who stayed.
        """
        if not self.aside:
            self.times_aside += rises
            self.raised += rises
            self.aside_since = now
        self.aside.append(sample)

    def take_back(self, now: float) -> Sample:
        """The image that was set aside first; with the last one the job keeps the levels that it waited for."""
        level = self.level(now)
        sample = self.aside.pop(0)
        if not self.aside:
            self.raised = level - self.request.priority
        return sample


class AdmissionQueue:
    """Every request in the engine; those with images that wait come by level, then first come first served."""

    def __init__(self) -> None:
        self._pending: dict[str, Pending] = {}
        self._arrivals = 0

    def __len__(self) -> int:
        return sum(pending.left for pending in self._pending.values())

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._pending

    def __getitem__(self, job_id: str) -> Pending:
        return self._pending[job_id]

    def in_order(self, now: float) -> Iterator[Pending]:
        """The requests with images that wait, and those nobody has checked; the most urgent first."""
        waiting = [pending for pending in self._pending.values() if pending.left or pending.checked is None]
        return iter(sorted(waiting, key=lambda pending: (-pending.level(now), pending.order)))

    def add(self, request: Request, kept: bytes | None = None) -> None:
        """Queue a request behind those of its priority."""
        self._pending[request.job_id] = Pending(request, self._arrivals, kept)
        self._arrivals += 1

    def remove(self, job_id: str) -> None:
        """Forget a job."""
        self._pending.pop(job_id, None)
