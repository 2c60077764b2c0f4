"""The values that the ledger takes and answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from synerdiff.protocol import Job, JobState, JobView


@dataclass(frozen=True, slots=True)
class Submission:
    """The answer to a submit: the record's id, whether this call made it, and which jobs to send hints for."""

    id: str
    created: bool
    released: tuple[str, ...] = ()


RefusalReason = Literal[
    "unknown",  # no such record (deleted, or past its keeping time)
    "claimed",  # somebody holds it
    "succeeded",
    "failed",
    "cancelled",
    "expired",
    "dead",
    "stale",  # this very claim was granted before and the job was given back since
    "not_released",  # its turn has not come (again); it gets another hint then
    "paused",  # the pool is paused
    "unregistered",  # the worker must send a heartbeat first
    "alone",  # the worker runs, or makes room for, a job that must run alone
    "drain",  # a quarantined job: the worker is now set aside for it, claim again when it holds nothing
    "busy",  # a quarantined job: the worker holds others, and enough workers are set aside already
    "elsewhere",  # the same, and one of those that are set aside is free: the hint is for it
]

HandBack = Literal["", "crashed", "aside", "proven"]  # how a job is handed back


@dataclass(frozen=True, slots=True)
class Claim:
    """A granted claim. Every later call for the job carries ``token``; ``alone``: nothing may run beside it.

    ``level`` is its priority by now, raised by one for each of the ``asides`` it was handed back for a more urgent
    job; ``kept`` counts the denoising steps in its latent checkpoint, 0 where it has none. ``traceparent`` is the
    submission's trace, empty where it was not traced. ``trial`` is the step where it was in a crash in company: once
    past it, it may have company again; None: it runs alone to its end. ``clear`` is the step with which it is past it
    for sure, by what it was known to do; None where nobody can tell.
    """

    job: Job
    token: int
    attempts: int
    alone: bool
    enqueued_at: float
    claimed_at: float
    level: int = 5
    asides: int = 0
    kept: int = 0
    traceparent: str = ""
    trial: int | None = None
    clear: int | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A claim that was not granted: there is nothing to do for this hint."""

    reason: RefusalReason
    released: tuple[str, ...] = ()


class Renewal(StrEnum):
    """What became of a lease; with anything but ``HELD`` the worker stops that job at once."""

    HELD = "held"
    LOST = "lost"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Ended:
    """The answer to finish, fail, hand_back and cancel.

    ``accepted``: the record now says what the caller wanted (also when it said so before). ``state`` is None
    if there is no record. ``released`` are the jobs to send hints for.
    """

    accepted: bool
    state: JobState | None
    released: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deleted:
    """The answer to a delete: what the job was, None if there was no record, and which jobs to send hints for."""

    view: JobView | None
    released: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reaped:
    """What one reaping changed, as job ids; ``workers`` are the names found dead.

    ``grace`` is true when the gap since the last reaping was too long to judge by: every lease was prolonged
    instead.
    """

    requeued: tuple[str, ...] = ()
    quarantined: tuple[str, ...] = ()
    dead: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()
    workers: tuple[str, ...] = ()
    released: tuple[str, ...] = ()
    grace: bool = False


@dataclass(frozen=True, slots=True)
class PoolLoad:
    """A pool's counters. ``queued`` counts every job in that state; ``released`` and ``quarantined`` are parts of it.

    ``outstanding_cost`` is n x steps x pixels over all open jobs, ``totals`` counts the jobs that came to each
    final state, and ``submitted``.
    """

    pool: str
    queued: int = 0
    released: int = 0
    quarantined: int = 0
    running: int = 0
    capacity: int = 0
    workers: int = 0
    outstanding_cost: float = 0.0
    oldest_age_s: float = 0.0
    paused: bool = False
    totals: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LeaderToken:
    """Proof of leadership: a write that carries an old epoch is refused."""

    name: str
    epoch: int


@dataclass(frozen=True, slots=True)
class PlanningReport:
    """The part of a :class:`WorkerReport` that planning needs; ``ready`` workers take jobs."""

    name: str
    capacity: int
    profile_id: str = ""
    device: str = ""
    model_hash: str = ""
    ready: bool = True
    slot: Mapping[str, float | int | str] = field(default_factory=dict)


SlotSpan = tuple[float, float, float, float, int, int, int]
"""A slot for a timeline: its end (seconds since the epoch), then seconds in all, of the UNet call and of the VAE's
chunks, then rows, chunks and skipped rows."""


class HeldJob(BaseModel):
    """A job that a worker has still to make ``images`` of: of ``steps`` denoising steps ``left`` are to be done.

    ``pixels`` are an image's; one that is ``waiting`` has no place in the batch yet.
    """

    model_config = ConfigDict(extra="ignore")

    id: str
    images: int
    steps: int
    left: int
    pixels: int
    waiting: bool = False


class WorkerReport(BaseModel):
    """What a worker says of itself with each heartbeat; ``name`` is one incarnation, never used again.

    ``slot`` is the engine's last slot report. A worker that is not ``ready`` counts with no capacity.
    ``plan_source`` says whose plan it follows: ``planned`` for its profile, the scheduler's ``default`` for want of
    one, or the ``built-in`` one of its own; ``plan_theta`` is the plan's threshold (``auto``, or a number), and
    ``plan_age_s`` the seconds since the scheduler last wrote it. ``held`` are the jobs that it has to step, in the
    order of their claims; ``store_s`` is what storing a job's images took lately.
    """

    model_config = ConfigDict(extra="ignore")

    name: str
    pool: str
    host: str = ""
    pid: int = 0
    capacity: int = Field(ge=0)
    running: int = 0
    profile_id: str = ""
    plan_version: int = 0
    plan_source: Literal["planned", "default", "built-in"] = "built-in"
    plan_theta: str = ""
    plan_age_s: float = 0.0
    device: str = ""
    model_hash: str = ""
    state: Literal["ready", "draining", "failing"] = "ready"
    slot: dict[str, float | int | str] = Field(default_factory=dict)
    slots: list[SlotSpan] = Field(default_factory=list)
    held: list[HeldJob] = Field(default_factory=list)
    store_s: float = 0.0
    started_at: float = 0.0
    seen_at: float = 0.0
