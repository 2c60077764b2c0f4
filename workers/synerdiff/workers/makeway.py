"""Making way: a full worker hands its least urgent job back when a more urgent one waits for a place."""

from __future__ import annotations

from synerdiff.ledger import Ledger
from synerdiff.telemetry import get_logger
from synerdiff.workers.leases import Leases
from synerdiff.workers.runs import GiveBack, Phase, Run

log = get_logger(__name__)

TOP_LEVEL = 9
MOST_ASIDES = 3  # a job that made way so often stays
PATIENCE_S = 3.0  # what another worker that is asked has to find a place


class MakeWay:
    """Asks the ledger, while no place is free, whether a job of a higher priority waits.

    The job that makes way keeps its latents, goes back to the queue one priority higher, and goes on from there. Where
    a job that must run alone waits at two looks, which no worker with a free place has taken, all of them make room.
    """

    def __init__(self, ledger: Ledger, leases: Leases, *, pool: str, worker: str, capacity: int) -> None:
        self._ledger = ledger
        self._worker = worker
        self._waited = False  # at the last look, a job that must run alone
        self._leases = leases
        self._pool = pool
        self._capacity = capacity

    def look(self) -> None:
        """Hand a job back if one is to make way. Raises :class:`LedgerUnavailable`."""
        held = self._leases.held
        if len(held) < self._capacity:
            self._waited = False
            return
        waits = self._ledger.set_aside(self._pool, self._worker, really=self._waited)
        if waits and self._waited:
            log.info("worker makes room for jobs that must run alone", jobs=len(held))
            self._leases.make_room("a job had to run alone")
        self._waited = waits and not self._waited
        if waits:
            return
        run = least_urgent(held)
        if run is not None and self._ledger.make_way(self._pool, run.level, PATIENCE_S):
            log.info("job makes way for a more urgent one", job_id=run.id, level=run.level, step=run.step)
            run.told_to_leave = True
            run.tell(GiveBack("a more urgent job waited", how="aside"))


def least_urgent(held: list[Run]) -> Run | None:
    """The job that may make way with the least loss: lowest level, not begun before begun, the latest claim first."""
    candidates = [
        run
        for run in held
        if run.phase is not Phase.UPLOADING
        and not (run.alone or run.told_to_leave)
        and run.level < TOP_LEVEL
        and run.asides < MOST_ASIDES
    ]
    return min(candidates, key=lambda run: (run.level, run.phase is not Phase.WAITING, -run.claimed_at), default=None)
