"""What a fault works with, and the list of all faults."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

import redis

from benchmarks.faults.fleet import Fleet
from benchmarks.faults.history import History
from benchmarks.faults.load import Load
from benchmarks.faults.part import WorkerPart
from synerdiff.dispatch import Hints
from synerdiff.ledger import Ledger
from synerdiff.protocol import JobState, JobView
from synerdiff.protocol.errors import LedgerUnavailable


@dataclass(slots=True)
class Bench:
    """The running bench."""

    fleet: Fleet
    load: Load
    history: History
    ledger: Ledger
    hints: Hints
    admin: redis.Redis
    rng: random.Random
    malformed: int = 0
    struck_at: float = 0.0

    def strike(self) -> None:
        """Note that the fault comes now: its figures count from here."""
        self.struck_at = time.time()

    def running(self) -> list[JobView]:
        """The jobs that run now."""
        views = self.ledger.get_many(self.history.open())
        return [view for view in views if view is not None and view.state is JobState.RUNNING]

    def busy_worker(self, jobs: int = 2, timeout_s: float = 30.0) -> tuple[WorkerPart, set[str]]:
        """A worker with at least ``jobs`` jobs at hand (the busiest after a while), and these jobs."""
        deadline = time.monotonic() + timeout_s
        while True:
            parts = {report.name: name for name, report in self.fleet.reports(self.ledger).items()}
            held: dict[str, set[str]] = {name: set() for name in parts.values()}
            for view in self.running():
                if view.worker in parts:
                    held[parts[view.worker]].add(view.id)
            name = max(held, key=lambda each: (len(held[each]), self.rng.random())) if held else ""
            if held and (len(held[name]) >= jobs or time.monotonic() > deadline):
                self.strike()
                return next(part for part in self.fleet.workers if part.name == name), held[name]
            time.sleep(0.05)

    def took_a_job(self, part: WorkerPart, before: Collection[str]) -> bool:
        """Whether a job that is not among those ``before`` runs on a worker."""
        report = self.fleet.reports(self.ledger).get(part.name)
        return report is not None and any(
            view.worker == report.name and view.id not in before for view in self.running()
        )

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for a condition; whether it came true. An unreachable ledger counts as not yet."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                if condition():
                    return True
            except LedgerUnavailable:
                pass
            time.sleep(0.05)
        return False


Injection = Callable[[Bench], Collection[str] | None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the matrix. ``inject`` brings the fault about, holds it as long as it lasts and undoes it; it
    returns the jobs that were hit, or None for all that ran."""

    name: str
    row: str
    inject: Injection
    needs_clock: bool = False


FAULTS: dict[str, Fault] = {}


def fault(row: str, *, needs_clock: bool = False) -> Callable[[Injection], Injection]:
    """Register an injection under its function's name."""

    def register(inject: Injection) -> Injection:
        name = str(getattr(inject, "__name__", ""))
        FAULTS[name] = Fault(name, row, inject, needs_clock)
        return inject

    return register
