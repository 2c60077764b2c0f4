"""What a pool's jobs may expect, from one look at it: what its workers hold, how fast they are, what comes on."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from synerdiff.api.estimate import Image, Pace, Usual, images_of, steps_of
from synerdiff.api.forecast import Coming, made_in
from synerdiff.api.measured import Measured
from synerdiff.ledger import Ledger, PoolLoad, WorkerReport
from synerdiff.protocol import Job

FORESEEN = 256  # images of a queue that are followed one by one; those past it take what they take of a full device
ARRIVALS_S = 20.0  # how far back arrivals are counted


@dataclass(slots=True)
class Prospect:
    """A pool at one moment. ``reports`` are of workers that take jobs and ``since_s`` old when they were read;
    ``rate`` is jobs that arrive in a second."""

    load: PoolLoad
    reports: Sequence[WorkerReport]
    pace: Pace | None
    rate: float = 0.0
    since_s: float = 0.0
    read_at: float = field(default_factory=time.monotonic)
    load_at: float = field(default_factory=time.monotonic)
    _found: dict[tuple[str, Usual], dict[str, float]] = field(default_factory=dict)
    _holders: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Note who holds which job."""
        self._holders = {job.id: report.name for report in self.reports for job in report.held}

    def again(self, load: PoolLoad) -> Prospect:
        """The same with a newer load."""
        return replace(self, load=load, load_at=time.monotonic(), _found={})

    @property
    def age_s(self) -> float:
        """Seconds since the workers' reports were read."""
        return time.monotonic() - self.read_at

    @property
    def load_age_s(self) -> float:
        """Seconds since the load was read."""
        return time.monotonic() - self.load_at

    def seconds(self, job: Job, position: int | None, step: int) -> float | None:
        """Seconds until a job's images are stored; ``position`` None: it runs and has done ``step`` steps.

        None where it cannot be told: no worker takes jobs, the pool is paused, or no profile is published.
        """
        pace = self.pace
        if pace is None or not self.reports or self.load.paused:
            return None
        least_s = pace.decode_s + pace.store_s
        if position is None and step >= job.steps:
            return least_s
        usual = self._usual(job, pace)
        made = self._held(self._holders[job.id], usual, pace) if position is None and job.id in self._holders else {}
        if job.id not in made:
            made = self._with(job, position, step, usual, pace)
        return max(made[job.id] - self._passed_s, least_s)

    def _usual(self, job: Job, pace: Pace) -> Usual:
        held = [each for report in self.reports for each in report.held]
        return Usual.of(held, self.load, pace, otherwise=steps_of(job, pace))

    @property
    def _passed_s(self) -> float:
        """Seconds since the workers reported."""
        return self.since_s + self.age_s

    @property
    def _unreported(self) -> int:
        """Jobs that workers took since they reported."""
        return max(0, self.load.running - sum(report.running for report in self.reports))

    def _held(self, worker: str, usual: Usual, pace: Pace) -> dict[str, float]:
        """When what a worker holds will be stored; found once."""
        key = (worker, usual)
        if key not in self._found:
            report = next(report for report in self.reports if report.name == worker)
            queued = self._like(self.load.queued + self._unreported, usual)[:FORESEEN]
            self._found[key] = made_in(images_of(report, pace), self._coming(queued, usual), pace)
        return self._found[key]

    def _with(self, job: Job, position: int | None, step: int, usual: Usual, pace: Pace) -> dict[str, float]:
        """When a job will be stored that no worker has reported yet."""
        left = steps_of(job, pace) * (job.steps - step) / job.steps
        mine = [Image(job.id, left)] * job.n
        held = self._all_held(pace)
        if position is None and step:
            return made_in([*mine, *held], self._coming(self._like(self.load.queued, usual)[:FORESEEN], usual), pace)
        others = self._unreported - (position is None)
        before = self._like(max(0, others) + (position or 0), usual)
        behind = self._like(self.load.queued - (0 if position is None else 1 + position), usual)
        queued = [*before[:FORESEEN], *mine, *behind[:FORESEEN]]
        far_s = len(before[FORESEEN:]) * (usual.steps * pace.slot_s(pace.cap) / pace.cap + pace.hold_s)
        return {job.id: made_in(held, self._coming(queued, usual), pace)[job.id] + far_s}

    def _like(self, jobs: int, usual: Usual) -> list[Image]:
        """A device's share of so many usual jobs."""
        return [Image("", usual.steps)] * round(max(0, jobs) * usual.images / len(self.reports))

    def _coming(self, queued: Sequence[Image], usual: Usual) -> Coming:
        every_s = len(self.reports) / (self.rate * usual.images) if self.rate else math.inf
        return Coming(queued, self._passed_s, Image("", usual.steps), every_s)

    def _all_held(self, pace: Pace) -> list[Image]:
        """What a device holds on average: every n-th of the images of n devices, those in a batch first."""
        held = [(place, image) for report in self.reports for place, image in enumerate(images_of(report, pace))]
        return [image for _, image in sorted(held, key=lambda each: each[0])][:: len(self.reports)]


class Watch:
    """Looks at a pool, and remembers what takes more than one look: its real pace, and how many jobs arrive."""

    def __init__(self, ledger: Ledger, pool: str) -> None:
        self._ledger = ledger
        self._pool = pool
        self._measured = Measured()
        self._submitted: deque[tuple[float, int]] = deque()

    def look(self) -> Prospect:
        """Read the pool. Raises :class:`LedgerUnavailable`."""
        ready = [report for report in self._ledger.workers(self._pool) if report.state == "ready"]
        heads = (self._ledger.get_plan(self._pool, profile) for profile in {report.profile_id for report in ready})
        paces = [pace for head in heads if head and (pace := Pace.of(head))]
        load, now = self._ledger.load(self._pool), self._ledger.server_time()
        ages = [max(0.0, now - report.seen_at) for report in ready if report.seen_at]
        return Prospect(
            load=load,
            reports=ready,
            pace=self._measured.pace(paces[0], ready) if paces else None,
            rate=self._rate(now, load.totals.get("submitted", 0)),
            since_s=sum(ages) / len(ages) if ages else 0.0,
        )

    def _rate(self, now: float, submitted: int) -> float:
        """Jobs a second, of those that came within :data:`ARRIVALS_S`; the first look knows none."""
        self._submitted.append((now, submitted))
        while len(self._submitted) > 2 and now - self._submitted[1][0] >= ARRIVALS_S:
            self._submitted.popleft()
        since, before = self._submitted[0]
        return max(0, submitted - before) / max(now - since, ARRIVALS_S)
