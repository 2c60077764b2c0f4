"""Making way: a full worker hands jobs back for one that is more urgent, or that must run alone."""

from __future__ import annotations

from collections.abc import Callable

from synerdiff.ledger import Ledger
from synerdiff.telemetry import get_logger
from synerdiff.workers.leases import Leases
from synerdiff.workers.runs import GiveBack, Phase, Run

log = get_logger(__name__)

TOP_LEVEL = 9
MOST_ASIDES = 3  # a job that made way so often stays
PATIENCE_S = 3.0  # what another worker that is asked has to find a place
ROOM = "a job had to run alone"


class MakeWay:
    """Asks the ledger, while no place is free, whether a job waits that has to have one.

    For a more urgent job, the least urgent here keeps its latents, goes back to the queue one priority higher, and goes
    on from there. For a job that must run alone and waits at two looks, so that no worker with a free place has taken
    it, all of them do, and this worker is set aside; it sends that job's hint itself until it has it, with or without a
    scheduler.
    """

    def __init__(
        self,
        ledger: Ledger,
        leases: Leases,
        *,
        pool: str,
        worker: str,
        capacity: int,
        send_hints: Callable[[tuple[str, ...]], None],
        leaving: Callable[[], bool],
        ready: Callable[[], bool],
    ) -> None:
        self._ledger = ledger
        self._leases = leases
        self._pool = pool
        self._worker = worker
        self._capacity = capacity
        self._send_hints = send_hints
        self._leaving = leaving
        self._ready = ready
        self._waited = False  # at the last look, a job that must run alone
        self._aside = False

    def look(self) -> None:
        """Hand jobs back if they are to make way. Raises :class:`LedgerUnavailable`."""
        held = self._leases.held
        if self._leaving() or self._stays_aside(held):
            return
        if len(held) < self._capacity or all(run.phase is Phase.UPLOADING for run in held):
            self._waited = False
        elif not self._for_suspect():
            self._for_urgent(held)

    def _stays_aside(self, held: list[Run]) -> bool:
        """Whether this worker is set aside, with the job that it is set aside for or still without."""
        if any(run.alone for run in held):
            self._aside = True
        elif self._aside:
            suspect = self._ledger.set_aside(self._pool, self._worker, "still")
            self._aside = suspect is not None
            if suspect is not None:
                self._leases.make_room(ROOM)  # for what was claimed meanwhile
            if suspect is not None and not held and self._ready():
                self._send_hints((suspect,))
        return self._aside

    def _for_suspect(self) -> bool:
        """Whether a job waits that must run alone."""
        takes = self._aside = self._waited  # until the answer, which may be lost
        suspect = self._ledger.set_aside(self._pool, self._worker, "take" if takes else "ask")
        self._aside = takes and suspect is not None
        self._waited = suspect is not None and not takes
        if takes and suspect is not None:
            log.info("worker makes room for a job that must run alone", job_id=suspect, jobs=len(self._leases))
            self._leases.make_room(ROOM)
            self._send_hints((suspect,))
        return suspect is not None

    def _for_urgent(self, held: list[Run]) -> None:
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
