"""What an open job may expect: its position in the queue, and seconds until its images are done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from synerdiff.api.estimate import Pace, seconds_left
from synerdiff.api.slowdown import Slowdown
from synerdiff.ledger import Ledger, PoolLoad
from synerdiff.protocol import Job, JobState, JobView

FRESH_S = 1.0


@dataclass(frozen=True, slots=True)
class Expectation:
    """``position``: how many jobs start before, by expectation; None once it runs. ``eta_s`` is None where it cannot
    be told: no worker is there, the pool is paused, or no profile is published."""

    position: int | None = None
    eta_s: float | None = None

    def data(self) -> dict[str, str]:
        """As an event's data."""
        found = {} if self.position is None else {"position": str(self.position)}
        return found if self.eta_s is None else {**found, "eta_s": f"{self.eta_s:.2f}"}


@dataclass(frozen=True, slots=True)
class _Pool:
    read_at: float
    load: PoolLoad
    pace: Pace | None
    devices: int

    @property
    def fresh(self) -> bool:
        return time.monotonic() - self.read_at <= FRESH_S

    def seconds(self, job: Job, position: int | None, step: int) -> float | None:
        if self.pace is None or not self.devices or self.load.paused:
            return None
        return seconds_left(job, position, step, self.load, self.pace, self.devices)


class Outlook:
    """Expectations of jobs. A pool's load and pace are read at most once a second, however many ask.

    ``pool_of`` tells which pool serves a model.
    """

    def __init__(self, ledger: Ledger, pool_of: Callable[[str], str]) -> None:
        self._ledger = ledger
        self._pool_of = pool_of
        self._pools: dict[str, _Pool] = {}
        self._pool_names: dict[str, str] = {}
        self._slowdown: dict[str, Slowdown] = {}
        self._lock = threading.Lock()

    def of(self, view: JobView) -> Expectation:
        """What a job as it stands may expect. Raises :class:`LedgerUnavailable`."""
        if view.state is JobState.RUNNING:
            return self.running(view.job, view.step)
        return self.queued(view.job) if view.state is JobState.QUEUED else Expectation()

    def queued(self, job: Job) -> Expectation:
        """What a queued job may expect."""
        position = self._ledger.position(job.id)
        return Expectation(position, None if position is None else self._seconds(job, position, 0))

    def running(self, job: Job, step: int) -> Expectation:
        """What a job that has done ``step`` steps may expect."""
        return Expectation(None, self._seconds(job, None, step))

    def at_hand(self, job: Job, step: int) -> Expectation | None:
        """As :meth:`running`, from what was read lately alone: never blocks. None where that is too old."""
        known = self._pools.get(self._pool_names.get(job.model, ""))
        return Expectation(None, known.seconds(job, None, step)) if known is not None and known.fresh else None

    def _seconds(self, job: Job, position: int | None, step: int) -> float | None:
        name = self._pool_names[job.model] = self._pool_of(job.model)
        return self._pool(name).seconds(job, position, step)

    def _pool(self, name: str) -> _Pool:
        with self._lock:
            known = self._pools.get(name)
            if known is None or not known.fresh:
                known = self._pools[name] = self._read(name)
            return known

    def _read(self, name: str) -> _Pool:
        ready = [report for report in self._ledger.workers(name) if report.state == "ready"]
        heads = (self._ledger.get_plan(name, profile) for profile in {report.profile_id for report in ready})
        paces = [pace for head in heads if head and (pace := Pace.of(head))]
        slower = self._slowdown.setdefault(name, Slowdown()).of(ready)
        return _Pool(time.monotonic(), self._ledger.load(name), paces[0].times(slower) if paces else None, len(ready))
