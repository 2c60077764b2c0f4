"""Following the scheduler's plans: read once a second, checked before the engine sees them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from synerdiff.ledger import Ledger
from synerdiff.policy import PolicyError, plan_view
from synerdiff.telemetry import get_logger
from synerdiff.workers.bridge import Bridge
from synerdiff.workers.messages import Profiled, SetPlan

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """The plan in force: its version, whose it is, its threshold, and the seconds since it was last written."""

    version: int = 0
    source: Literal["planned", "default", "built-in"] = "built-in"
    theta: str = ""
    age_s: float = 0.0


class PlanFollower:
    """Publishes the engine's profile and hands each new plan for it to the engine.

    A plan that is damaged, or for something else, is logged once, counted in ``rejected``, and the one
    before stays; with none at all the engine's built-in default does.
    """

    def __init__(
        self, ledger: Ledger, bridge: Bridge, *, pool: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ledger = ledger
        self._bridge = bridge
        self._pool = pool
        self._clock = clock
        self._published: Profiled | None = None
        self._missed = False
        self._figures = ""
        self._table: tuple[str, str] | None = None
        self._seen = ""
        self._standing = Standing()
        self._made_at = ""
        self._written_at = clock()
        self.rejected = 0

    @property
    def standing(self) -> Standing:
        """The plan in force and how old it is."""
        plan = self._standing
        age_s = self._clock() - self._written_at if plan.version else 0.0
        return Standing(plan.version, plan.source, plan.theta, round(age_s, 1))

    def refresh(self) -> None:
        """Publish a new profile, and look for a new plan. Raises :class:`LedgerUnavailable`."""
        profile = self._bridge.profile
        self._publish(profile)
        profile_id = profile.profile_id if profile else ""
        head = self._ledger.get_plan(self._pool, profile_id)
        if not head:
            return
        if head.get("made_at", "") != self._made_at:
            self._made_at, self._written_at = head.get("made_at", ""), self._clock()
        if head.get("version", "") != self._seen:
            self._take(head, profile)

    def _publish(self, profile: Profiled | None) -> None:
        """The first is an offer, since the fleet may have a better one of that id; a later one replaces it, and so
        does ours where the scheduler can plan by none."""
        if profile is None or (profile == self._published and not self._missed):
            return
        if self._published is None:
            self._ledger.offer_profile(profile.profile_id, profile.document)
        else:
            self._ledger.put_profile(profile.profile_id, profile.document)
            log.info("profile published again", profile_id=profile.profile_id)
        self._published, self._missed = profile, False

    def _take(self, head: dict[str, str], profile: Profiled | None) -> None:
        table = self._find_table(head.get("table_hash", ""))
        if table is None:
            return  # the head was written before its table is readable; the next second will do
        version = head.get("version", "")
        try:
            plan = plan_view(head, table).plan
            if plan.profile_id and (profile is None or plan.profile_id != profile.profile_id):
                own = profile.profile_id if profile else "none"
                raise PolicyError("profile_id", f"is {plan.profile_id:.60}, but this worker's is {own}")
        except PolicyError as error:
            self._seen = version
            self.rejected += 1
            log.warning("plan not used", plan_version=version, reason=str(error), rejected=self.rejected)
            return
        if not plan.profile_id and profile is not None:
            self._missed = True  # the one in Redis is gone, or no good
        self._bridge.set_plan(SetPlan(head, table, self._news_of_profile(head)))
        # Noted only now: what the ledger did not answer is asked for again in the next second.
        self._seen, self._figures = version, head.get("figures", "") or self._figures
        self._standing = Standing(plan.version, "planned" if plan.profile_id else "default", head["theta"])

    def _news_of_profile(self, head: dict[str, str]) -> str | None:
        """The published profile's document, where the plan was made by other figures than the plan before."""
        figures = head.get("figures", "")
        if not figures or figures == self._figures:
            return None
        return self._ledger.get_profile(head["profile_id"])

    def _find_table(self, table_hash: str) -> str | None:
        if self._table is None or self._table[0] != table_hash:
            table = self._ledger.get_table(table_hash)
            if table is None:
                return None
            self._table = (table_hash, table)
        return self._table[1]
