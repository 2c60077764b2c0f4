"""Workers whose store, engine or queue is broken, and jobs that end while they run: each has a defined end."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from benchmarks.faults.proxies import Mode, Proxies
from synerdiff.cli.embedded import EmbeddedRedis, S3Access
from synerdiff.ledger import Ledger, Refused, WorkerReport
from synerdiff.protocol import Job, JobState
from synerdiff.protocol.errors import LedgerUnavailable
from tests.support import wait_until
from tests.worker_stack import WorkerProcess, WorkerStack

LONG = 1_000_000
NO_RENEWAL_S = 600  # leases are renewed every quarter of it: what is told sooner came another way


@pytest.fixture
def stack(redis_url: str, s3: S3Access, tmp_path: Path) -> Iterator[WorkerStack]:
    with WorkerStack(redis_url, s3, tmp_path, model="fake") as running:
        yield running


def refused_since(worker: WorkerProcess, failures: int) -> bool:
    return worker.log.count("image not stored yet") > failures


def idle(stack: WorkerStack) -> bool:
    return stack.ledger.workers(stack.pool)[0].running == 0


def test_cancelled_and_expired_jobs_stop_at_once_and_not_with_the_next_renewal(stack: WorkerStack) -> None:
    stack.start(lease_s=NO_RENEWAL_S)
    [cancelled] = stack.submit("cat", steps=LONG)
    stack.running(cancelled)
    stack.ledger.cancel(cancelled)
    wait_until(lambda: idle(stack), 60, what="the cancelled job to stop")
    [late] = stack.submit("cat", steps=LONG, deadline_s=5.0)
    stack.running(late)
    wait_until(lambda: stack.view(late).state is JobState.EXPIRED, 60, what="the deadline")
    wait_until(lambda: idle(stack), 60, what="the expired job to stop")
    [after] = stack.ended(stack.submit("dog"))
    assert after.state is JobState.SUCCEEDED
    assert stack.view(cancelled).state is JobState.CANCELLED


def test_a_hung_device_is_ended_and_its_job_runs_alone_until_it_is_dead_with_the_reason(stack: WorkerStack) -> None:
    worker = stack.start(hang_s=2, lease_s=3)
    engine = worker.children()[0]
    hung, neighbour = stack.submit("hang", "cat", steps=300)
    hung_view, neighbour_view = stack.ended([hung, neighbour], timeout_s=180)
    assert neighbour_view.state is JobState.SUCCEEDED
    assert hung_view.state is JobState.DEAD
    assert hung_view.error is not None
    assert "ran alone" in hung_view.error.message
    assert not engine.is_running()
    assert worker.process.poll() is None
    assert [view.id for view in stack.ledger.list_jobs(state=JobState.DEAD)] == [hung]


def test_a_store_that_answers_500_refuses_is_slow_or_silent_costs_time_and_no_image(
    redis_url: str, s3: S3Access, tmp_path: Path
) -> None:
    proxies = Proxies()
    proxy = proxies.open(urlsplit(s3.endpoint).port or 80)
    through = S3Access(f"http://127.0.0.1:{proxy.port}", s3.bucket, s3.access_key, s3.secret_key)
    modes: tuple[Mode, ...] = ("error_500", "refuse", "slow")
    try:
        with WorkerStack(redis_url, through, tmp_path, model="fake") as stack:
            worker = stack.start()
            for mode in modes:
                failures = worker.log.count("image not stored yet")
                proxy.set(mode)
                [job_id] = stack.submit("cat")
                if mode != "slow":
                    wait_until(partial(refused_since, worker, failures), 60, what=mode)
                    assert stack.view(job_id).state is JobState.RUNNING
                    proxy.set("pass")
                [view] = stack.ended([job_id], timeout_s=90)
                proxy.set("pass")
                assert view.state is JobState.SUCCEEDED, mode
                assert hashlib.sha256(stack.store.get(view.images[0].key)).hexdigest() == view.images[0].sha256
            assert worker.process.poll() is None
    finally:
        proxies.close()


def submit(ledger: Ledger, job_id: str) -> None:
    ledger.submit(Job(id=job_id, model="fake", prompt="p", width=64, height=64, seed=1), "fake")


def test_a_cancellation_with_nobody_home_survives_a_restart_of_the_broker(own_redis: EmbeddedRedis) -> None:
    ledger = Ledger.connect(own_redis.url)
    submit(ledger, "gone")
    assert ledger.cancel("gone").accepted
    own_redis.stop()
    own_redis.start()
    ledger.close()
    ledger = Ledger.connect(own_redis.url)
    ledger.heartbeat(WorkerReport(name="w", pool="fake", capacity=2), 60)
    ledger.reap("fake")
    assert ledger.due_hints("fake", 10) == ()
    refused = ledger.claim("gone", worker="w", nonce="n", lease_s=10)
    assert isinstance(refused, Refused)
    assert refused.reason == "cancelled"
    ledger.close()


def test_a_full_disk_refuses_submits_and_everything_works_once_there_is_room(own_redis: EmbeddedRedis) -> None:
    """Valkey may not let a file grow: it sees EFBIG where a full disk gives ENOSPC."""
    ledger = Ledger.connect(own_redis.url)
    ledger.heartbeat(WorkerReport(name="w", pool="fake", capacity=2), 60)
    submit(ledger, "before")
    process = psutil.Process(own_redis.pid)
    _, hard = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (1, hard))

    def refused() -> bool:
        try:
            submit(ledger, f"probe{id(object())}")
        except LedgerUnavailable as error:
            return "disk" in error.message
        return False

    wait_until(refused, 60, what="a refusal that names the disk")
    process.rlimit(psutil.RLIMIT_FSIZE, (hard, hard))

    def taken() -> bool:
        try:
            submit(ledger, "after")
        except LedgerUnavailable:
            return False
        return True

    wait_until(taken, 60, what="submits to be taken again")
    for job_id in ("before", "after"):
        assert ledger.get(job_id) is not None
    ledger.close()
