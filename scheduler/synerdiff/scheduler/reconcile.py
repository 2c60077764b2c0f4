"""The reconciler: what time has run out for is reaped, and hints that nobody followed are sent again."""

from __future__ import annotations

from synerdiff.dispatch import Hints
from synerdiff.ledger import Ledger, Reaped
from synerdiff.telemetry import get_logger

log = get_logger(__name__)

HINTS_A_TICK = 2000


def reconcile(ledger: Ledger, hints: Hints, pool: str) -> tuple[Reaped, int]:
    """Reap one pool and send the hints that are due; returns what was reaped and how many were sent.

    Raises :class:`LedgerUnavailable`.
    """
    reaped = ledger.reap(pool)
    for what in ("requeued", "quarantined", "dead", "expired", "workers"):
        found: tuple[str, ...] = getattr(reaped, what)
        if found:
            log.warning("reaped", pool=pool, what=what, count=len(found), first=found[0])
    if reaped.grace:
        log.warning("nobody reaped for a while: every lease is prolonged once", pool=pool)
    due = (*reaped.released, *ledger.due_hints(pool, HINTS_A_TICK))
    return reaped, len(due) - len(hints.send(pool, due))
