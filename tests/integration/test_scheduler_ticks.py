"""The scheduler's tick against a real Redis: leadership, plans, profiles, hints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
import redis

from synerdiff.api.estimate import Pace
from synerdiff.dispatch import Hints, celery_app, queue_name
from synerdiff.ledger import Ledger, PlanningReport, PoolLoad, WorkerReport
from synerdiff.policy import plan_view, profile_document
from synerdiff.policy.shipped import shipped_profile
from synerdiff.protocol import Job
from synerdiff.scheduler.plans import PlanWriter
from synerdiff.scheduler.service import Scheduler

POOL = "sdxl"
PROFILE = shipped_profile("h100-sdxl-1024")
OWN = PROFILE.profile_id


@pytest.fixture
def ledger(redis_client: redis.Redis, redis_url: str) -> Ledger:
    return Ledger.connect(redis_url)


@pytest.fixture
def make_scheduler(ledger: Ledger, redis_url: str) -> Callable[..., Scheduler]:
    seconds, hints = count(), Hints(celery_app(redis_url))
    return lambda **options: Scheduler(ledger, hints, tick_s=1.0, clock=lambda: float(next(seconds)), **options)


def beat(ledger: Ledger, name: str = "w1", *, profile_id: str = OWN, **fields: Any) -> None:
    report = WorkerReport(name=name, pool=POOL, capacity=8, profile_id=profile_id, **fields)
    ledger.heartbeat(report, 60.0)


def make_job(number: int) -> Job:
    return Job(id=f"job-{number}", model=POOL, prompt="a red boat", width=1024, height=1024, steps=30, seed=number)


def view_in_force(ledger: Ledger, profile_id: str = OWN) -> dict[str, str]:
    """The plan's head, once it is checked to be a valid plan with its table."""
    head = ledger.get_plan(POOL, profile_id)
    assert head is not None
    table = ledger.get_table(head["table_hash"])
    assert table is not None
    plan_view(head, table)
    return head


def test_a_profile_without_a_document_gets_the_default_plan(
    ledger: Ledger, make_scheduler: Callable[[], Scheduler]
) -> None:
    beat(ledger)
    assert make_scheduler().tick()
    head = view_in_force(ledger)
    assert (head["batch_cap"], head["reprofile"], head["version"]) == ("8", "1", "1")


def test_a_published_profile_is_planned_for(ledger: Ledger, make_scheduler: Callable[[], Scheduler]) -> None:
    ledger.put_profile(OWN, profile_document(PROFILE))
    beat(ledger)
    make_scheduler().tick()
    head = view_in_force(ledger)
    assert head["profile_id"] == PROFILE.profile_id
    assert head["reprofile"] == "0"
    pace = Pace.of(head)
    assert pace is not None
    assert len(pace.step_s) == int(head["batch_cap"])
    assert pace.pixels == PROFILE.width * PROFILE.height


def test_the_version_moves_only_when_the_plan_does(ledger: Ledger, make_scheduler: Callable[[], Scheduler]) -> None:
    ledger.put_profile(OWN, profile_document(PROFILE))
    beat(ledger)
    scheduler = make_scheduler()
    versions = []
    for _ in range(3):
        scheduler.tick()
        versions.append(int(view_in_force(ledger)["version"]))
    assert versions == [versions[0]] * 3
    for number in range(40):
        ledger.submit(make_job(number), POOL)
    for _ in range(12):
        scheduler.tick()
    loaded = view_in_force(ledger)
    assert int(loaded["version"]) > versions[0]
    assert loaded["skip_above"] == "0"


def test_balanced_skips_from_the_first_job_or_as_the_load_says(
    ledger: Ledger, make_scheduler: Callable[..., Scheduler]
) -> None:
    ledger.put_profile(OWN, profile_document(PROFILE))
    beat(ledger)
    make_scheduler().tick()
    assert view_in_force(ledger)["skip_above"] == "0"

    redis.Redis.delete(ledger.client, "synerdiff:leader:scheduler")
    patient = make_scheduler(skip_from="load")
    patient.tick()
    head = view_in_force(ledger)
    assert int(head["skip_above"]) == int(head["batch_cap"]) // 2
    for number in range(40):
        ledger.submit(make_job(number), POOL)
    for _ in range(12):
        patient.tick()
    assert view_in_force(ledger)["skip_above"] == "0"


def test_without_a_profile_the_setting_holds_too(ledger: Ledger, make_scheduler: Callable[..., Scheduler]) -> None:
    beat(ledger, profile_id="")
    make_scheduler(skip_from="load").tick()
    assert view_in_force(ledger, "")["skip_above"] == "4"


def test_a_restarted_scheduler_goes_on_counting(ledger: Ledger, make_scheduler: Callable[[], Scheduler]) -> None:
    beat(ledger)
    make_scheduler().tick()
    redis.Redis.delete(ledger.client, "synerdiff:leader:scheduler")
    ledger.put_profile(OWN, profile_document(PROFILE))
    make_scheduler().tick()
    assert view_in_force(ledger)["version"] == "2"


def test_two_schedulers_never_lead_at_once(ledger: Ledger, make_scheduler: Callable[[], Scheduler]) -> None:
    beat(ledger)
    first, second = make_scheduler(), make_scheduler()
    assert first.tick()
    assert not second.tick()
    redis.Redis.delete(ledger.client, "synerdiff:leader:scheduler")  # as when the first one was away for long
    assert second.tick()
    assert not first.tick()


def shown(scheduler: Scheduler) -> dict[str, float]:
    """The versions of the plans in a scheduler's metrics, by profile; every gauge of a plan shows the same profiles."""
    planned = [each for each in scheduler.metrics.registry.collect() if each.name.startswith("synerdiff_planned_")]
    versions, *others = ({each.labels["profile"]: each.value for each in gauge.samples} for gauge in reversed(planned))
    assert [set(other) for other in others] == [set(versions)] * 3
    return versions


def test_a_plans_metrics_go_with_its_profile_and_with_the_lead(
    ledger: Ledger, make_scheduler: Callable[[], Scheduler]
) -> None:
    beat(ledger, "w1")
    beat(ledger, "w2", profile_id="another")
    scheduler = make_scheduler()
    scheduler.tick()
    assert shown(scheduler) == {OWN: 1.0, "another": 1.0}
    ledger.deregister("w2")
    scheduler.tick()
    assert shown(scheduler) == {OWN: 1.0}
    beat(ledger, "w2", profile_id="another")
    scheduler.tick()
    assert shown(scheduler) == {OWN: 1.0, "another": 1.0}  # it goes on with the plan that it had
    redis.Redis.delete(ledger.client, "synerdiff:leader:scheduler")
    make_scheduler().tick()
    assert not scheduler.tick()
    assert shown(scheduler) == {}


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        ("not json", {}),
        ('{"format": 99}', {}),
        (profile_document(replace(PROFILE, model_hash="abc")), {"model_hash": "xyz"}),
        (profile_document(PROFILE), {"device": "NVIDIA L4"}),
        (profile_document(replace(PROFILE, width=512)), {}),
    ],
)
def test_a_profile_that_does_not_fit_gives_the_default_plan(
    ledger: Ledger, make_scheduler: Callable[[], Scheduler], document: str, fields: dict[str, str]
) -> None:
    ledger.put_profile(OWN, document)
    beat(ledger, **fields)
    make_scheduler().tick()
    assert view_in_force(ledger)["reprofile"] == "1"


def test_a_pool_that_cannot_be_planned_for_stops_neither_the_others_nor_the_reaping(
    ledger: Ledger, make_scheduler: Callable[[], Scheduler], monkeypatch: pytest.MonkeyPatch
) -> None:
    write, broken = PlanWriter.write, {POOL}

    def failing(self: PlanWriter, pool: str, *rest: Any) -> None:
        if pool in broken:
            raise ZeroDivisionError
        write(self, pool, *rest)

    monkeypatch.setattr(PlanWriter, "write", failing)
    beat(ledger)
    ledger.heartbeat(WorkerReport(name="w2", pool="tiny", capacity=4, profile_id="p2"), 60.0)
    scheduler = make_scheduler()
    assert scheduler.tick()
    assert ledger.get_plan("tiny", "p2") is not None
    assert ledger.get_plan(POOL, OWN) is None
    broken.clear()
    scheduler.tick()
    assert ledger.get_plan(POOL, OWN) is not None


def test_a_pool_with_a_damaged_key_is_all_that_is_not_reaped(
    ledger: Ledger, make_scheduler: Callable[[], Scheduler], redis_client: redis.Redis
) -> None:
    beat(ledger)
    ledger.heartbeat(WorkerReport(name="w2", pool="zz", capacity=4, profile_id="p2"), 60.0)
    assert ledger.pools() == [POOL, "zz"]
    redis_client.set(f"synerdiff:leases:{POOL}", "changed by hand")
    scheduler = make_scheduler()
    assert scheduler.tick()
    scheduler.metrics.ticked(0.01, leads=True)
    assert redis_client.hget("synerdiff:counters:zz", "reaped_at") is not None
    assert ledger.get_plan("zz", "p2") is not None
    assert scheduler.metrics.registry.get_sample_value("synerdiff_unreaped_pools") == 1
    assert scheduler.metrics.ready()["tick"].startswith("1 pool cannot be reaped")
    redis_client.delete(f"synerdiff:leases:{POOL}")
    scheduler.tick()
    assert ledger.get_plan(POOL, OWN) is not None
    assert scheduler.metrics.registry.get_sample_value("synerdiff_unreaped_pools") == 0
    assert scheduler.metrics.ready()["tick"] == "ok"


def test_slots_that_part_from_the_profile_ask_for_a_new_one(
    ledger: Ledger, make_scheduler: Callable[[], Scheduler]
) -> None:
    ledger.put_profile(OWN, profile_document(PROFILE))
    scheduler = make_scheduler()
    for number in range(40):
        beat(ledger, slot={"predicted_total_s": float(number), "measured_total_s": 1.5 * number})
        scheduler.tick()
    assert view_in_force(ledger)["reprofile"] == "1"


def test_new_figures_of_a_profile_make_a_new_plan_that_names_them(
    ledger: Ledger, make_scheduler: Callable[[], Scheduler]
) -> None:
    ledger.put_profile(OWN, profile_document(PROFILE))
    beat(ledger)
    scheduler = make_scheduler()
    scheduler.tick()
    before = view_in_force(ledger)
    again = replace(PROFILE, unet_s=tuple(2 * seconds for seconds in PROFILE.unet_s))
    ledger.put_profile(OWN, profile_document(again))
    for _ in range(12):
        scheduler.tick()
    after = view_in_force(ledger)
    assert (before["figures"], after["figures"]) == (PROFILE.figures_hash, again.figures_hash)
    assert int(after["version"]) > int(before["version"])


def test_a_lost_hint_is_sent_again(
    ledger: Ledger, redis_client: redis.Redis, make_scheduler: Callable[[], Scheduler]
) -> None:
    beat(ledger)
    released = ledger.submit(make_job(1), POOL).released
    assert released == ("job-1",)  # its hint is never sent
    scheduler = make_scheduler()
    redis_client.zadd(f"synerdiff:released:{POOL}:5", {"job-1": 0.0})  # its backoff has passed
    scheduler.tick()
    assert redis_client.llen(queue_name(POOL)) == 1


def test_a_table_that_went_away_is_written_again(
    ledger: Ledger, redis_client: redis.Redis, make_scheduler: Callable[[], Scheduler]
) -> None:
    beat(ledger)
    scheduler = make_scheduler()
    scheduler.tick()
    before = view_in_force(ledger)["table_hash"]
    assert redis_client.delete("synerdiff:table:" + before) == 1
    scheduler.tick()
    assert view_in_force(ledger)["table_hash"] == before


def test_hints_that_still_lie_in_the_queue_are_not_sent_again(
    ledger: Ledger, redis_client: redis.Redis, make_scheduler: Callable[[], Scheduler], redis_url: str
) -> None:
    beat(ledger)
    Hints(celery_app(redis_url)).send(POOL, ledger.submit(make_job(1), POOL).released)
    redis_client.zadd(f"synerdiff:released:{POOL}:5", {"job-1": 0.0})  # its backoff has passed
    make_scheduler().tick()
    assert redis_client.llen(queue_name(POOL)) == 1


def test_a_tick_reads_a_pools_load_once(
    ledger: Ledger, make_scheduler: Callable[[], Scheduler], monkeypatch: pytest.MonkeyPatch
) -> None:
    beat(ledger)
    read, load = list[str](), ledger.load

    def counted(pool: str) -> PoolLoad:
        read.append(pool)
        return load(pool)

    monkeypatch.setattr(ledger, "load", counted)
    make_scheduler().tick()
    assert read == [POOL]


def test_planning_reads_of_a_report_what_it_needs(ledger: Ledger) -> None:
    beat(ledger, "w1", device="cpu", model_hash="m", slot={"predicted_total_s": 2.5})
    beat(ledger, "w2", state="draining")
    reports = {report.name: report for report in ledger.planning_reports(POOL)}
    assert reports["w1"] == PlanningReport("w1", 8, OWN, "cpu", "m", True, {"predicted_total_s": 2.5})
    assert not reports["w2"].ready
    assert ledger.planning_reports("another") == []
