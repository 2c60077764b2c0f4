"""Writing plans: one for each pool and profile, atomically, a new version only when something in it changed."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace

from synerdiff.ledger import LeaderToken, Ledger, PlanningReport, PoolLoad
from synerdiff.policy import PlanView, plan_head, table_document
from synerdiff.policy.allowance import SkipFrom
from synerdiff.protocol.errors import PlanError
from synerdiff.scheduler.pilot import fallback
from synerdiff.scheduler.pilots import Key, Pilots
from synerdiff.telemetry import get_logger

log = get_logger(__name__)


class PlanWriter:
    """Writes a plan for every profile that live workers go by, and remembers what it wrote."""

    def __init__(self, ledger: Ledger, skip_from: SkipFrom = "start") -> None:
        self._ledger = ledger
        self._skip_from = skip_from
        self._pilots = Pilots(ledger, skip_from)
        self._written: dict[Key, dict[str, str]] = {}

    def write(self, pool: str, counters: PoolLoad, leader: LeaderToken, elapsed_s: float) -> None:
        """Plan and publish for one pool. Raises :class:`LedgerUnavailable`."""
        reports = self._ledger.planning_reports(pool)
        devices = sum(report.ready for report in reports)
        by_profile: defaultdict[str, list[PlanningReport]] = defaultdict(list)
        for report in reports:
            by_profile[report.profile_id].append(report)
        for gone in [key for key in self._written if key[0] == pool and key[1] not in by_profile]:
            del self._written[gone]
        for profile_id, group in by_profile.items():
            key = (pool, profile_id)
            capacity = max(1, *(report.capacity for report in group))
            pilot = self._pilots.get(key, group[0], capacity)
            view = (
                fallback(capacity, self._skip_from)
                if pilot is None
                else pilot.plan(counters, group, devices, elapsed_s)
            )
            figures, pace = ("", "") if pilot is None else (pilot.figures, json.dumps(pilot.pace()))
            self._publish(key, view, leader, figures, pace)

    @property
    def heads(self) -> dict[Key, dict[str, str]]:
        """The plans that this writer put in force for profiles with live workers, by pool and profile."""
        return dict(self._written)

    def forget(self) -> None:
        """Read everything anew: another scheduler may have led meanwhile."""
        self._pilots.forget()
        self._written.clear()

    def _publish(self, key: Key, view: PlanView, leader: LeaderToken, figures: str, pace: str) -> None:
        """Write a plan; ``figures`` names the profile's figures it was made by, which its id leaves open."""
        before = self._written.get(key)
        if before is None:
            before = self._ledger.get_plan(*key) or {}
        versioned = replace(view.plan, version=_version(before))
        head = plan_head(versioned) | {"figures": figures}
        if any(before.get(name) != value for name, value in head.items()):
            versioned = replace(versioned, version=versioned.version + 1)
            head = plan_head(versioned) | {"figures": figures}
        stamped = head | {"made_at": f"{self._ledger.server_time():.3f}", "pace": pace}
        new_table = before.get("table_hash") != versioned.table_hash
        if self._put(key, stamped, table_document(view.table) if new_table else None, view, leader):
            self._written[key] = head
        else:
            log.warning("deposed: another scheduler leads", pool=key[0], epoch=leader.epoch)

    def _put(self, key: Key, head: dict[str, str], table: str | None, view: PlanView, leader: LeaderToken) -> bool:
        table_hash = view.plan.table_hash
        try:
            return self._ledger.put_plan(*key, head, table_hash, table, leader)
        except PlanError:  # the table is not stored (any more): write it along
            return self._ledger.put_plan(*key, head, table_hash, table_document(view.table), leader)


def _version(head: dict[str, str]) -> int:
    found = head.get("version", "0")
    return int(found) if found.isascii() and found.isdigit() else 0
