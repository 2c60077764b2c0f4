"""What an older version of this code wrote into Redis, read and worked with by the present one.

``tests/data`` holds what ``python -m tools.upgrade_check --fixtures`` kept of the commit in each file's name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import redis

from synerdiff.api.outlook import Outlook
from synerdiff.ledger import Claim, Ledger, PlanningReport
from synerdiff.policy import plan_view, profile_document
from synerdiff.policy.planner import Planner
from synerdiff.protocol import Job, JobState, pool_of
from synerdiff.scheduler.pilot import Pilot, read_profile

FILES = sorted((Path(__file__).parents[1] / "data").glob("written_by_*.json"))
PREFIX = "synerdiff:"


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def written(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.param.read_text())
    return found


@pytest.fixture
def ledger(redis_client: redis.Redis, redis_url: str, written: dict[str, Any]) -> Ledger:
    """A ledger that holds what the older code wrote."""
    record, report, plan = written["record"], written["worker"], written["plan"]
    job, pool, profile_id = json.loads(record["job"]), report["pool"], report["profile_id"]
    redis_client.hset(f"{PREFIX}job:{job['id']}", mapping=record)
    for event_id, fields in written["events"]:
        redis_client.xadd(f"{PREFIX}events:{job['id']}", fields, id=event_id)
    redis_client.hset(f"{PREFIX}plan:{pool}:{profile_id}", mapping=plan)
    redis_client.set(f"{PREFIX}table:{plan['table_hash']}", written["table"])
    if written["profile"] is not None:
        redis_client.set(f"{PREFIX}profile:{profile_id}", written["profile"])
    redis_client.hset(f"{PREFIX}worker:{report['name']}", mapping=report)
    redis_client.zadd(f"{PREFIX}workers:{pool}", {report["name"]: 1e12})
    redis_client.sadd(f"{PREFIX}pools", pool)
    redis_client.hset(f"{PREFIX}catalogue", json.loads(written["model"])["name"], written["model"])
    return Ledger.connect(redis_url)


def test_there_are_records_of_an_older_version() -> None:
    assert FILES


def test_a_job_that_an_older_version_finished_is_read(ledger: Ledger, written: dict[str, Any]) -> None:
    job_id = json.loads(written["record"]["job"])["id"]
    view = ledger.get(job_id)
    assert view is not None
    assert view.state is JobState.SUCCEEDED
    assert len(view.images) == view.job.n == 2
    assert view.receipt is not None
    assert view.timings is not None
    kinds = [event.kind for event in ledger.events(job_id)]
    assert kinds[-1] == "succeeded"
    assert "step" in kinds


def test_an_older_plan_is_followed(ledger: Ledger, written: dict[str, Any]) -> None:
    report = written["worker"]
    head = ledger.get_plan(report["pool"], report["profile_id"])
    assert head is not None
    table = ledger.get_table(head["table_hash"])
    assert table is not None
    view = plan_view(head, table)
    assert view.plan.batch_cap >= 1
    assert view.table.action(1, 0).run_unet


def test_an_older_profile_is_planned_by(ledger: Ledger, written: dict[str, Any]) -> None:
    (report,) = ledger.planning_reports(written["worker"]["pool"])
    document = ledger.get_profile(report.profile_id)
    if document is None:
        assert not written["plan"]["profile_id"]  # that version's workers published none
        return
    profile = read_profile(document, report)
    assert json.loads(profile_document(profile))["profile_id"] == profile.profile_id
    pilot = Pilot(profile, Planner(), report.capacity)
    view = pilot.plan(ledger.load(report_pool(written)), [report], 1, 1.0)
    assert view.plan.profile_id == report.profile_id


def report_pool(written: dict[str, Any]) -> str:
    return str(written["worker"]["pool"])


def test_an_older_workers_report_counts(ledger: Ledger, written: dict[str, Any]) -> None:
    pool = report_pool(written)
    (report,) = ledger.workers(pool)
    assert (report.name, report.state, report.held) == (written["worker"]["name"], "ready", [])
    (planning,) = ledger.planning_reports(pool)
    assert isinstance(planning, PlanningReport)
    assert planning.capacity == report.capacity > 0


def test_beside_an_older_worker_jobs_run_and_are_foreseen(ledger: Ledger, written: dict[str, Any]) -> None:
    (entry,) = ledger.models()
    side = entry.default_width
    job = Job(id="mine", model=entry.name, prompt="a fox", width=side, height=side, steps=10, seed=1)
    (report,) = ledger.workers(entry.pool)
    assert ledger.submit(job, pool_of(entry.name)).created
    expected = Outlook(ledger, lambda model: entry.pool).queued(job)
    assert expected.position == 0
    assert (expected.eta_s is None) == ("pace" not in written["plan"])
    ledger.heartbeat(report, 60.0)  # as the present code writes it
    claim = ledger.claim("mine", worker=report.name, nonce="n", lease_s=10.0)
    assert isinstance(claim, Claim)
