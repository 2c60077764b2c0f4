"""What an open job may expect: its position in the queue, and seconds until its images are done."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from synerdiff.api.prospect import Prospect, Watch
from synerdiff.ledger import Ledger
from synerdiff.protocol import Job, JobState, JobView

FRESH_S = 1.0  # workers report as often
STALE_S = 3.0  # past that nobody is told from it, though it is being read again
LOAD_FRESH_S = 0.1  # a burst's jobs come one after another, and each is asked about at once


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


class Outlook:
    """Expectations of jobs. A pool's workers are read at most once a second, its counters ten times, however many ask.

    ``pool_of`` tells which pool serves a model.
    """

    def __init__(self, ledger: Ledger, pool_of: Callable[[str], str]) -> None:
        self._ledger = ledger
        self._pool_of = pool_of
        self._pools: dict[str, Prospect] = {}
        self._pool_names: dict[str, str] = {}
        self._watches: dict[str, Watch] = {}
        self._sent: dict[str, float] = {}
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
        """As :meth:`running`, from what was read lately alone: never blocks. None sends the caller to ask.

        Once a second that is one caller: of hundreds of streams that step together, all would wait in threads.
        """
        name = self._pool_names.get(job.model, "")
        known, now = self._pools.get(name), time.monotonic()
        if known is None or known.age_s > STALE_S:
            return None
        if known.age_s > FRESH_S and now - self._sent.get(name, -math.inf) > FRESH_S:
            self._sent[name] = now
            return None
        return Expectation(None, known.seconds(job, None, step))

    def _seconds(self, job: Job, position: int | None, step: int) -> float | None:
        name = self._pool_names[job.model] = self._pool_of(job.model)
        return self._pool(name).seconds(job, position, step)

    def _pool(self, name: str) -> Prospect:
        with self._lock:
            known = self._pools.get(name)
            if known is None or known.age_s > FRESH_S:
                known = self._pools[name] = self._watches.setdefault(name, Watch(self._ledger, name)).look()
            elif known.load_age_s > LOAD_FRESH_S:
                known = self._pools[name] = known.again(self._ledger.load(name))
            return known
