"""Following the scheduler's plans: read once a second, checked before the engine sees them."""

from __future__ import annotations

import time

from synerdiff.ledger import Ledger
from synerdiff.policy import PolicyError, plan_view
from synerdiff.telemetry import get_logger
from synerdiff.workers.bridge import Bridge
from synerdiff.workers.metrics import WorkerMetrics

log = get_logger(__name__)


class PlanFollower:
    """Hands each new plan of this worker's profile to the engine.

    A plan that is damaged, or for something else, is logged once, counted in ``rejected``, and the one
    before stays; with none at all the engine's built-in default does.
    """

    def __init__(
        self, ledger: Ledger, bridge: Bridge, *, pool: str, profile_id: str, metrics: WorkerMetrics | None = None
    ) -> None:
        self._ledger = ledger
        self._bridge = bridge
        self._pool = pool
        self._profile_id = profile_id
        self._metrics = metrics or WorkerMetrics()
        self._table: tuple[str, str] | None = None
        self._seen = ""
        self._made_at = ""
        self._confirmed_at = time.monotonic()
        self.version = 0
        self.rejected = 0

    def refresh(self) -> None:
        """Look for a new plan. Raises :class:`LedgerUnavailable`."""
        head = self._ledger.get_plan(self._pool, self._profile_id)
        self._confirm(head or {})
        if not head or head.get("version", "") == self._seen:
            return
        table = self._find_table(head.get("table_hash", ""))
        if table is None:
            return  # the head was written before its table is readable; the next second will do
        self._seen = head.get("version", "")
        try:
            plan = plan_view(head, table).plan
        except PolicyError as error:
            self.rejected += 1
            self._metrics.plan_rejected()
            log.warning("plan not used", plan_version=self._seen, reason=str(error), rejected=self.rejected)
            return
        self.version = plan.version
        self._metrics.plan("scheduler", version=plan.version, theta=plan.theta)
        self._bridge.set_plan(head, table)

    @property
    def age_s(self) -> float:
        """Seconds since the scheduler last confirmed a plan for this worker, or since the start without one.

        By this host's clock alone, from when the plan's stamp was seen to change.
        """
        return time.monotonic() - self._confirmed_at

    def _confirm(self, head: dict[str, str]) -> None:
        made_at = head.get("made_at", "")
        if made_at != self._made_at:
            self._made_at, self._confirmed_at = made_at, time.monotonic()

    def _find_table(self, table_hash: str) -> str | None:
        if self._table is None or self._table[0] != table_hash:
            table = self._ledger.get_table(table_hash)
            if table is None:
                return None
            self._table = (table_hash, table)
        return self._table[1]
