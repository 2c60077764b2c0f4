"""Following plans: each new one once, a damaged one never."""

from __future__ import annotations

import dataclasses
from typing import cast

import pytest

from synerdiff.ledger import Ledger
from synerdiff.policy import Plan, default_plan, parse_table, plan_head, table_document
from synerdiff.protocol.errors import LedgerUnavailable
from synerdiff.workers.bridge import Bridge
from synerdiff.workers.messages import Profiled, SetPlan
from synerdiff.workers.plans import PlanFollower, Standing

TABLE = table_document(dataclasses.replace(default_plan(8).table, profile_id="p"))
HASH = parse_table(TABLE).table_hash


class FakeLedger:
    """Holds one plan."""

    def __init__(self) -> None:
        self.head: dict[str, str] | None = None
        self.tables = {HASH: TABLE}
        self.table_reads = 0
        self.profiles: dict[str, str] = {}
        self.away = False

    def get_plan(self, pool: str, profile_id: str) -> dict[str, str] | None:
        return self.head

    def get_table(self, table_hash: str) -> str | None:
        self.table_reads += 1
        return self.tables.get(table_hash)

    def offer_profile(self, profile_id: str, document: str) -> bool:
        return self.profiles.setdefault(profile_id, document) == document

    def put_profile(self, profile_id: str, document: str) -> None:
        self.profiles[profile_id] = document

    def get_profile(self, profile_id: str) -> str | None:
        if self.away:
            raise LedgerUnavailable("Redis is away")
        return self.profiles.get(profile_id)


class FakeBridge:
    """Notes the plans it is given."""

    def __init__(self) -> None:
        self.profile: Profiled | None = Profiled("p", "ours")
        self.plans: list[SetPlan] = []

    @property
    def versions(self) -> list[str]:
        return [plan.head["version"] for plan in self.plans]

    def set_plan(self, plan: SetPlan) -> None:
        self.plans.append(plan)


class Clock:
    """Moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def follower(clock: Clock | None = None) -> tuple[PlanFollower, FakeLedger, FakeBridge]:
    ledger, bridge = FakeLedger(), FakeBridge()
    plans = PlanFollower(cast(Ledger, ledger), cast(Bridge, bridge), pool="m", clock=clock or Clock())
    return plans, ledger, bridge


def head(version: int, **changes: str) -> dict[str, str]:
    return {**plan_head(Plan(version, "p", batch_cap=4, skip_above=2, table_hash=HASH)), **changes}


def test_each_version_is_handed_over_once_and_its_table_read_once() -> None:
    plans, ledger, bridge = follower()
    plans.refresh()
    for version in (1, 1, 2):
        ledger.head = head(version)
        plans.refresh()
    assert (bridge.versions, plans.standing.version, ledger.table_reads) == (["1", "2"], 2, 1)


def test_a_damaged_plan_is_counted_once_and_the_one_before_stays() -> None:
    plans, ledger, bridge = follower()
    ledger.head = head(1)
    plans.refresh()
    for _ in range(2):
        ledger.head = head(2, batch_cap="many")
        plans.refresh()
    assert (bridge.versions, plans.standing.version, plans.rejected) == (["1"], 1, 1)


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


def test_the_profile_is_offered_once_and_the_fleets_own_stays() -> None:
    plans, ledger, _ = follower()
    ledger.profiles["p"] = "the fleet's"
    plans.refresh()
    plans.refresh()
    assert ledger.profiles == {"p": "the fleet's"}


def test_a_profile_that_was_measured_again_replaces_the_published_one() -> None:
    plans, ledger, bridge = follower()
    plans.refresh()
    assert ledger.profiles == {"p": "ours"}
    bridge.profile = Profiled("p", "newer")
    plans.refresh()
    assert ledger.profiles == {"p": "newer"}


def test_while_the_scheduler_plans_by_none_ours_is_published_again() -> None:
    plans, ledger, _ = follower()
    plans.refresh()
    ledger.profiles["p"] = "damaged"
    table = table_document(default_plan(8).table)
    named = parse_table(table).table_hash
    ledger.tables[named] = table
    ledger.head = head(1, profile_id="", table_hash=named)
    plans.refresh()
    plans.refresh()
    assert ledger.profiles == {"p": "ours"}
    assert plans.standing.source == "default"


def test_the_engine_hears_the_figures_a_plan_was_made_by_once() -> None:
    plans, ledger, bridge = follower()
    ledger.profiles["p"] = "the fleet's"
    for version in (1, 2):
        ledger.head = head(version, figures="f1")
        plans.refresh()
    ledger.head = head(3, figures="f2")
    plans.refresh()
    assert [plan.profile for plan in bridge.plans] == ["the fleet's", None, "the fleet's"]


def test_a_plan_is_sent_once_the_ledger_answers_for_its_profile() -> None:
    plans, ledger, bridge = follower()
    plans.refresh()
    ledger.head, ledger.away = head(1, figures="f1"), True
    with pytest.raises(LedgerUnavailable):
        plans.refresh()
    assert plans.standing.version == 0
    ledger.away = False
    plans.refresh()
    assert [(plan.head["version"], plan.profile) for plan in bridge.plans] == [("1", "ours")]
    assert plans.standing.version == 1


def test_the_report_says_whose_plan_it_is_and_how_old() -> None:
    clock = Clock()
    plans, ledger, _ = follower(clock)
    assert plans.standing == Standing(0, "built-in", "", 0.0)
    ledger.head = head(3, made_at="1.0")
    plans.refresh()
    clock.now = 2.0
    ledger.head = head(3, made_at="3.0")
    plans.refresh()
    clock.now = 9.5
    plans.refresh()
    assert plans.standing == Standing(3, "planned", "auto", 7.5)


@pytest.mark.parametrize("theta", ["0", "1.5", "-1", "nan", "high"])
def test_a_plan_with_a_theta_outside_its_range_is_refused(theta: str) -> None:
    plans, ledger, bridge = follower()
    ledger.head = head(1, theta=theta)
    plans.refresh()
    assert (bridge.plans, plans.rejected) == ([], 1)
