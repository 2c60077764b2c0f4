"""Following plans: each new one once, a damaged one never."""

from __future__ import annotations

import dataclasses
from typing import cast

from synerdiff.ledger import Ledger
from synerdiff.policy import Plan, default_plan, parse_table, plan_head, table_document
from synerdiff.workers.bridge import Bridge
from synerdiff.workers.plans import PlanFollower

TABLE = table_document(dataclasses.replace(default_plan(8).table, profile_id="p"))
HASH = parse_table(TABLE).table_hash


class FakeLedger:
    """Holds one plan."""

    def __init__(self) -> None:
        self.head: dict[str, str] | None = None
        self.tables = {HASH: TABLE}
        self.table_reads = 0

    def get_plan(self, pool: str, profile_id: str) -> dict[str, str] | None:
        return self.head

    def get_table(self, table_hash: str) -> str | None:
        self.table_reads += 1
        return self.tables.get(table_hash)


class FakeBridge:
    """Notes the versions it is given."""

    def __init__(self) -> None:
        self.versions: list[str] = []

    def set_plan(self, head: dict[str, str], table: str | None) -> None:
        self.versions.append(head["version"])


def follower() -> tuple[PlanFollower, FakeLedger, FakeBridge]:
    ledger, bridge = FakeLedger(), FakeBridge()
    return PlanFollower(cast(Ledger, ledger), cast(Bridge, bridge), pool="m", profile_id="p"), ledger, bridge


def head(version: int, **changes: str) -> dict[str, str]:
    return {**plan_head(Plan(version, "p", batch_cap=4, skip_above=2, table_hash=HASH)), **changes}


def test_each_version_is_handed_over_once_and_its_table_read_once() -> None:
    plans, ledger, bridge = follower()
    plans.refresh()
    for version in (1, 1, 2):
        ledger.head = head(version)
        plans.refresh()
    assert (bridge.versions, plans.version, ledger.table_reads) == (["1", "2"], 2, 1)


def test_a_damaged_plan_is_counted_once_and_the_one_before_stays() -> None:
    plans, ledger, bridge = follower()
    ledger.head = head(1)
    plans.refresh()
    for _ in range(2):
        ledger.head = head(2, batch_cap="many")
        plans.refresh()
    assert (bridge.versions, plans.version, plans.rejected) == (["1"], 1, 1)


def test_a_plan_whose_table_is_not_there_yet_is_looked_at_again() -> None:
    plans, ledger, bridge = follower()
    ledger.tables.clear()
    ledger.head = head(1)
    plans.refresh()
    ledger.tables[HASH] = TABLE
    plans.refresh()
    assert bridge.versions == ["1"]


def test_a_plan_for_another_profile_is_refused() -> None:
    plans, ledger, bridge = follower()
    ledger.head = head(1, profile_id="other")
    plans.refresh()
    assert (bridge.versions, plans.rejected) == ([], 1)
