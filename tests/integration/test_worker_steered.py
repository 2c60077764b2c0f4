"""A real worker with the shipped model, steered by the real scheduler: profile, plan and receipt are of one piece."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from synerdiff.cli.embedded import S3Access
from synerdiff.dispatch import Hints, celery_app
from synerdiff.ledger import WorkerReport
from synerdiff.policy import parse_plan, parse_profile, parse_table
from synerdiff.protocol import JobState
from synerdiff.scheduler.service import Scheduler, Service
from tests.support import wait_until
from tests.worker_stack import WorkerProcess, WorkerStack

MODEL = "tiny-emoji"
BAD = {"version": "x", "theta": "2", "format": "9", "batch_cap": "0"}


@pytest.fixture
def stack(redis_url: str, s3: S3Access, tmp_path: Path) -> Iterator[WorkerStack]:
    with WorkerStack(redis_url, s3, tmp_path, model=MODEL, fake=False) as running:
        yield running


class Steering:
    """The scheduler's loop, four ticks a second."""

    def __init__(self, stack: WorkerStack, redis_url: str) -> None:
        self._hints, self._stopping = Hints(celery_app(redis_url)), threading.Event()
        service = Service(Scheduler(stack.ledger, self._hints, 0.25), 0.25, self._stopping)
        self._thread = threading.Thread(target=service.run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(10)
        self._hints.close()


@pytest.fixture
def steering(stack: WorkerStack, redis_url: str) -> Iterator[Steering]:
    running = Steering(stack, redis_url)
    yield running
    running.stop()


def logged(worker: WorkerProcess, words: str) -> bool:
    return words in worker.log


def report_of(stack: WorkerStack) -> WorkerReport:
    (report,) = stack.ledger.workers(stack.pool)
    return report


def test_the_worker_follows_plans_made_for_its_own_profile_and_never_stops_for_a_bad_one(
    stack: WorkerStack, steering: Steering, tmp_path: Path
) -> None:
    worker = stack.start(cache_dir=tmp_path / "cache", threads=1)
    wait_until(lambda: report_of(stack).plan_source == "planned", what="a plan for the worker's profile")
    report = report_of(stack)

    published = stack.ledger.get_profile(report.profile_id)
    assert published is not None
    profile = parse_profile(published)
    assert (profile.profile_id, profile.model, profile.threads) == (report.profile_id, MODEL, 1)
    assert (profile.model_hash, profile.device) == (report.model_hash, report.device)
    assert len(list((tmp_path / "cache" / "profiles").iterdir())) == 1

    head = stack.ledger.get_plan(stack.pool, report.profile_id)
    assert head is not None
    plan = parse_plan(head)
    assert (plan.profile_id, head["figures"]) == (profile.profile_id, profile.figures_hash)
    table = stack.ledger.get_table(plan.table_hash)
    assert table is not None
    assert parse_table(table).profile_id == profile.profile_id

    (view,) = stack.ended(stack.submit("a red star", width=128, height=128, steps=6))
    assert view.state is JobState.SUCCEEDED
    assert view.receipt is not None
    assert 1 <= view.receipt.plan_version <= report_of(stack).plan_version
    wait_until(lambda: float(report_of(stack).slot.get("predicted_total_s", 0.0)) > 0.0, what="predicted slots")
    assert float(report_of(stack).slot["measured_total_s"]) > 0.0

    steering.stop()
    before = report_of(stack).plan_version
    for number, (field, value) in enumerate(BAD.items(), start=1):
        bad = {**head, "version": str(before + number), field: value}
        stack.ledger.put_plan(stack.pool, report.profile_id, bad, f"t{number}", "not a table")
        wait_until(partial(logged, worker, f"{field}: must be"), what=f"a sentence about {field}")
    (view,) = stack.ended(stack.submit("a red star", width=128, height=128, steps=2))
    assert view.receipt is not None
    assert view.receipt.plan_version == before == report_of(stack).plan_version
