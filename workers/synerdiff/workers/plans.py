"""Following the scheduler's plans: read once a second, checked before the engine sees them."""

from __future__ import annotations

from synerdiff.ledger import Ledger
from synerdiff.policy import PolicyError, plan_view
from synerdiff.telemetry import get_logger
from synerdiff.workers.bridge import Bridge

log = get_logger(__name__)


class PlanFollower:
    """Hands each new plan of this worker's profile to the engine.

    A plan that is damaged, or for something else, is logged once, counted in ``rejected``, and the one
    before stays; with none at all the engine's built-in default does.
    """

    def __init__(self, ledger: Ledger, bridge: Bridge, *, pool: str, profile_id: str) -> None:
        self._ledger = ledger
        self._bridge = bridge
        self._pool = pool
        self._profile_id = profile_id
        self._table: tuple[str, str] | None = None
        self._seen = ""
        self.version = 0
        self.rejected = 0

    def refresh(self) -> None:
        """Look for a new plan. Raises :class:`LedgerUnavailable`."""
        head = self._ledger.get_plan(self._pool, self._profile_id)
        if not head or head.get("version", "") == self._seen:
            return
        table = self._find_table(head.get("table_hash", ""))
        if table is None:
            return  # the head was written before its table is readable; the next second will do
        self._seen = head.get("version", "")
        try:
            self.version = plan_view(head, table).version
        except PolicyError as error:
            self.rejected += 1
            log.warning("plan not used", plan_version=self._seen, reason=str(error), rejected=self.rejected)
            return
        self._bridge.set_plan(head, table)

    def _find_table(self, table_hash: str) -> str | None:
        if self._table is None or self._table[0] != table_hash:
            table = self._ledger.get_table(table_hash)
            if table is None:
                return None
            self._table = (table_hash, table)
        return self._table[1]
