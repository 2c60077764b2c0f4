"""The wall clock of a run: which jobs of a trace have arrived by now."""

from __future__ import annotations

import time
from collections.abc import Sequence

from synerdiff.bench.workload import Arrival
from synerdiff.engine.types import Request


class Arrivals:
    """Hands out a trace's jobs as their time comes; the clock starts when this is made."""

    def __init__(self, trace: Sequence[Arrival]) -> None:
        self._trace = trace
        self._next = 0
        self._at = {item.request.job_id: item.at for item in trace}
        self._start = time.perf_counter()

    @property
    def over(self) -> bool:
        """Whether every job has been handed out."""
        return self._next == len(self._trace)

    def now(self) -> float:
        """Seconds since the run's start."""
        return time.perf_counter() - self._start

    def since(self, moment: float) -> float:
        """A ``time.perf_counter`` reading in seconds after the run's start."""
        return moment - self._start

    def at_of(self, request: Request) -> float:
        """When the trace said that this job arrives."""
        return self._at[request.job_id]

    def arrived(self) -> list[Request]:
        """The jobs that have arrived since the last call, oldest first."""
        now, first = self.now(), self._next
        while self._next < len(self._trace) and self._trace[self._next].at <= now:
            self._next += 1
        return [item.request for item in self._trace[first : self._next]]

    def wait_for_next(self, until: float = float("inf")) -> bool:
        """Sleep until the next job arrives or the clock reads ``until``; whether a job has arrived."""
        if self.over:
            return False
        at = min(self._trace[self._next].at, until)
        time.sleep(max(0.0, at - self.now()))
        return self._trace[self._next].at <= self.now()
