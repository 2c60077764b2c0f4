"""Reading a pool's load and its workers' reports as the planner takes them."""

from __future__ import annotations

from collections.abc import Sequence

from synerdiff.ledger import Ledger, PoolLoad, WorkerReport
from synerdiff.policy.profile import Profile
from synerdiff.policy.steering import Load

MANY = 64
MANY_TICKS = 5


class Reports:
    """The workers' reports of each pool; those of a big pool are read every fifth tick, for they cost most of it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._read: dict[str, tuple[int, list[WorkerReport]]] = {}

    def of(self, pool: str, alive: int) -> list[WorkerReport]:
        """The reports of a pool with ``alive`` workers. Raises :class:`LedgerUnavailable`."""
        age, known = self._read.get(pool, (MANY_TICKS, []))
        if alive > MANY and len(known) > MANY and age + 1 < MANY_TICKS:
            self._read[pool] = (age + 1, known)
            return known
        found = self._ledger.workers(pool)
        self._read[pool] = (0, found)
        return found


def ready_workers(reports: Sequence[WorkerReport]) -> list[WorkerReport]:
    """The workers that take jobs."""
    return [report for report in reports if report.state == "ready"]


def load_of(counters: PoolLoad, devices: int, profile: Profile) -> Load:
    """The pool's counters in the profile's terms: steps of an image of the profile's size."""
    steps = counters.outstanding_cost / (profile.width * profile.height)
    return Load(
        waiting_jobs=counters.queued,
        running_jobs=counters.running,
        open_steps=steps,
        open_images=steps / profile.steps,
        devices=max(devices, 1),
    )
