"""The reconciler: what time has run out for is reaped, and hints that nobody followed are sent again."""

from __future__ import annotations

from synerdiff.dispatch import Hints
from synerdiff.ledger import Ledger, PoolLoad, Reaped
from synerdiff.telemetry import get_logger

log = get_logger(__name__)

HINTS_A_TICK = 2000
IN_TRANSIT = 200


def reconcile(ledger: Ledger, hints: Hints, pool: str) -> tuple[Reaped, int, PoolLoad]:
    """Reap one pool and send the hints that are due; returns what was reaped, how many were sent and the load.

    Raises :class:`LedgerUnavailable`.
    """
    reaped = ledger.reap(pool)
    for what in ("requeued", "quarantined", "dead", "expired", "workers"):
        found: tuple[str, ...] = getattr(reaped, what)
        if found:
            log.warning("reaped", pool=pool, what=what, count=len(found), first=found[0])
    if reaped.grace:
        log.warning("nobody reaped for a while: every lease is prolonged once", pool=pool)
    load = ledger.load(pool)
    limit = hints_worth_sending(load, hints.waiting(pool))
    due = (*reaped.released, *(ledger.due_hints(pool, limit) if limit else ()))
    return reaped, len(due) - len(hints.send(pool, due)), load


def hints_worth_sending(load: PoolLoad, in_queue: int) -> int:
    """How many due hints to send again: none while Celery's queue holds one for every job that waits to be claimed.

    Jobs wait long in a loaded pool, and sent again each half minute their hints would fill the queue. A few are
    always between queue and claim, so a few missing ones are no reason to send all.
    """
    missing = load.released + load.quarantined - in_queue
    return min(HINTS_A_TICK, missing + IN_TRANSIT) if missing > 0 else 0
