"""A worker as a real Celery process on a real Redis and S3, with an engine that needs no model."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from synerdiff.cli.embedded import EmbeddedRedis, EmbeddedS3, S3Access
from synerdiff.engine.model import shipped_path
from synerdiff.protocol import JobEvent, JobState
from synerdiff.protocol.errors import SynerDiffError, UnsafeBroker
from synerdiff.settings import Settings
from synerdiff.storage import read_receipt
from synerdiff.workers.messages import EngineSpec
from synerdiff.workers.worker import GpuWorker
from tests.support import wait_until
from tests.worker_fakes import FACTORY
from tests.worker_messages import MALFORMED
from tests.worker_stack import WorkerStack

LONG = 1_000_000


@pytest.fixture
def stack(redis_url: str, s3: S3Access, tmp_path: Path) -> Iterator[WorkerStack]:
    with WorkerStack(redis_url, s3, tmp_path, model="fake") as running:
        yield running


@pytest.fixture
def seen(stack: WorkerStack) -> Iterator[list[dict[str, Any]]]:
    """Celery's events as Flower gets them."""
    events: list[dict[str, Any]] = []
    with stack.app.connection() as connection:
        receiver = stack.app.events.Receiver(connection, handlers={"*": events.append})
        thread = threading.Thread(target=lambda: receiver.capture(limit=None, timeout=None, wakeup=True), daemon=True)
        thread.start()
        yield events
        receiver.should_stop = True
        thread.join(10)


def _preview(stack: WorkerStack, job_id: str) -> JobEvent | None:
    events = stack.ledger.events(job_id, previews_after="0")
    return next((event for event in events if event.kind == "preview"), None)


def test_jobs_become_images_and_flower_sees_them_without_a_prompt(
    stack: WorkerStack, seen: list[dict[str, Any]]
) -> None:
    worker = stack.start()
    ids = stack.submit("xylophone in a zeppelin", "xylophone", n=2, steps=600)
    preview = wait_until(lambda: _preview(stack, ids[0]), what="a preview")
    assert sorted(preview.data) == ["0", "1"]
    assert all(url.startswith("data:image/webp;base64,") for url in preview.data.values())
    for view in stack.ended(ids):
        assert view.state is JobState.SUCCEEDED
        assert view.receipt is not None
        assert view.receipt.worker == view.worker
        assert [image.seed for image in view.images] == [7, 8]
        for image in view.images:
            data = stack.store.get(image.key)
            assert hashlib.sha256(data).hexdigest() == image.sha256
            receipt = read_receipt(data)
            assert receipt is not None
            assert receipt.request["seed"] == image.seed
    expected = {"task-received", "task-started", "task-progress", "task-succeeded"}
    wait_until(lambda: expected <= {e["type"] for e in list(seen) if e.get("uuid") == ids[0]}, what=f"{expected}")
    assert "xylophone" not in json.dumps(seen, default=str)
    assert "xylophone" not in worker.log


def test_a_job_that_breaks_the_workers_limits_or_the_engine_fails_visibly(
    stack: WorkerStack, seen: list[dict[str, Any]]
) -> None:
    worker = stack.start(limits__max_steps=50)
    over, broken = stack.submit("cat", steps=51) + stack.submit("fails")
    over_view, broken_view = stack.ended([over, broken])
    assert over_view.state is broken_view.state is JobState.FAILED
    assert over_view.error is not None
    assert over_view.error.message == "steps must be at most 50; got 51"
    assert broken_view.error is not None
    assert broken_view.error.code == "non_finite_image"
    wait_until(lambda: {e["uuid"] for e in seen if e["type"] == "task-failed"} == {over, broken}, what="task-failed")
    assert "Traceback" not in worker.log


def test_malformed_messages_are_kept_and_the_worker_lives(stack: WorkerStack) -> None:
    worker = stack.start()
    for _, message in MALFORMED.values():
        stack.push(message)
    for channel in ("/0.celery.pidbox", "/0.celeryev/worker.heartbeat"):
        for text in ("no json", "[]", "{}", '{"properties": {}, "body": 7}'):
            stack.ledger.client.publish(channel, text)
    [view] = stack.ended(stack.submit("cat"))
    assert view.state is JobState.SUCCEEDED
    wait_until(lambda: len(stack.ledger.dead_letters(200)) >= len(MALFORMED), what="the dead letters")
    letters = stack.ledger.dead_letters(200)
    assert {kind for kind, _ in MALFORMED.values()} <= {kind for kind, _ in letters}
    assert worker.process.poll() is None


def test_a_running_job_can_be_cancelled(stack: WorkerStack) -> None:
    stack.start()
    [job_id] = stack.submit("cat", steps=LONG)
    stack.running(job_id)
    stack.ledger.cancel(job_id)
    [other] = stack.ended(stack.submit("dog"))
    assert other.state is JobState.SUCCEEDED
    wait_until(lambda: stack.ledger.workers(stack.pool)[0].running == 0, what="the slot to be free")
    assert stack.view(job_id).state is JobState.CANCELLED


def test_sigterm_finishes_what_fits_and_hands_the_rest_to_another_worker(stack: WorkerStack) -> None:
    first = stack.start(grace_s=3)
    children = first.children()
    long, short = stack.submit("cat", steps=LONG) + stack.submit("dog", steps=300)
    stack.running(long)
    stack.running(short)
    first.signal(signal.SIGTERM)
    assert first.wait() == 0
    assert not [child for child in children if child.is_running()]
    assert stack.ledger.workers(stack.pool) == []
    assert stack.view(short).state is JobState.SUCCEEDED
    handed = stack.view(long)
    assert (handed.state, handed.attempts) == (JobState.QUEUED, 0)
    stack.start()
    stack.running(long)


def test_a_second_sigterm_leaves_at_once_and_loses_nothing(stack: WorkerStack) -> None:
    worker = stack.start(grace_s=600)
    children = worker.children()
    [job_id] = stack.submit("cat", steps=LONG)
    stack.running(job_id)
    worker.signal(signal.SIGTERM)
    wait_until(lambda: "worker draining" in worker.log, what="the drain")
    worker.signal(signal.SIGTERM)
    assert worker.wait(20) == 143
    wait_until(lambda: not [child for child in children if child.is_running()], what="the engine to end")
    assert stack.view(job_id).state is JobState.QUEUED


def test_a_poison_job_takes_no_neighbour_with_it(stack: WorkerStack) -> None:
    worker = stack.start()
    neighbours = stack.submit(*["cat"] * 5, steps=100)
    [poison] = stack.submit("segfault")
    views = stack.ended([*neighbours, poison], timeout_s=120)
    assert [view.state for view in views] == [JobState.SUCCEEDED] * 5 + [JobState.DEAD]
    assert worker.process.poll() is None


def test_a_worker_killed_with_9_leaves_its_jobs_to_the_next(stack: WorkerStack) -> None:
    first = stack.start()
    ids = stack.submit(*["cat"] * 4, steps=500)
    stack.running(ids[0])
    children = first.children()
    first.signal(signal.SIGKILL)
    wait_until(lambda: not [child for child in children if child.is_running()], what="the engine to end")
    stack.start()
    assert {view.state for view in stack.ended(ids, timeout_s=90)} == {JobState.SUCCEEDED}


def test_images_wait_for_a_store_that_is_away(own_s3: EmbeddedS3, redis_url: str, tmp_path: Path) -> None:
    with WorkerStack(redis_url, own_s3.make_bucket("images"), tmp_path, model="fake") as stack:
        stack.start()
        own_s3.kill()
        [job_id] = stack.submit("cat")
        wait_until(lambda: "image not stored yet" in stack.workers[0].log, what="a failed upload")
        assert stack.view(job_id).state is JobState.RUNNING
        own_s3.start()
        [view] = stack.ended([job_id], timeout_s=90)
        assert view.state is JobState.SUCCEEDED
        assert hashlib.sha256(stack.store.get(view.images[0].key)).hexdigest() == view.images[0].sha256


def test_work_goes_on_through_a_broker_restart(own_redis: EmbeddedRedis, s3: S3Access, tmp_path: Path) -> None:
    with WorkerStack(own_redis.url, s3, tmp_path, model="fake") as stack:
        worker = stack.start(lease_s=5)
        [held] = stack.submit("cat", steps=3000)
        stack.running(held)
        own_redis.stop()
        wait_until(lambda: "does not work for now" in worker.log, what="the outage to be noticed")
        own_redis.start()
        later = stack.submit("dog")
        assert {view.state for view in stack.ended([held, *later], timeout_s=90)} == {JobState.SUCCEEDED}
        assert worker.process.poll() is None


def settings(redis_url: str, s3: S3Access, **changes: Any) -> Settings:
    access = {"s3_access_key": s3.access_key, "s3_secret_key": s3.secret_key}
    return Settings(**{"redis_url": redis_url, "s3_endpoint": s3.endpoint, "s3_bucket": s3.bucket, **access, **changes})


def refusal(given: Settings, model: str = "fake") -> SynerDiffError:
    with pytest.raises(SynerDiffError) as caught:
        GpuWorker.launch(
            given,
            name="w-1",
            capacity=1,
            spec=EngineSpec(model=model, factory=FACTORY, log_level="CRITICAL"),
            send_hints=lambda job_ids: None,
            on_failing=lambda: None,
        )
    return caught.value


def test_what_is_missing_at_the_start_is_said_in_one_sentence(redis_url: str, s3: S3Access) -> None:
    away = refusal(settings("redis://127.0.0.1:1/0", s3)).message
    assert "redis://127.0.0.1:1/0" in away
    assert "SYNERDIFF_REDIS_URL" in away
    assert "SYNERDIFF_S3_ENDPOINT" in refusal(settings(redis_url, s3, s3_endpoint="http://127.0.0.1:1")).message
    assert "SYNERDIFF_S3_BUCKET" in refusal(settings(redis_url, s3, s3_bucket="not-there")).message
    assert "model_path /nowhere" in refusal(settings(redis_url, s3), model="missing").message
    assert psutil.Process().children() == [] or all(
        "child" not in " ".join(c.cmdline()) for c in psutil.Process().children()
    )


def test_a_redis_that_may_drop_jobs_is_refused(redis_url: str, s3: S3Access, redis_client: Any) -> None:
    redis_client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert isinstance(refusal(settings(redis_url, s3)), UnsafeBroker)
    finally:
        redis_client.config_set("maxmemory-policy", "noeviction")


def test_a_worker_that_cannot_start_exits_with_2_and_a_sentence(stack: WorkerStack) -> None:
    worker = stack.launch(s3_bucket="not-there")
    assert worker.wait() == 2
    lines = [json.loads(line) for line in worker.log.splitlines()]
    assert next(line["reason"] for line in lines if line["event"] == "cannot start").startswith("bucket not-there")
    assert "Traceback" not in worker.log


def test_a_worker_whose_checkpoint_is_damaged_says_why_and_never_registers(
    redis_url: str, s3: S3Access, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(shipped_path(), tmp_path / "model"))
    weights = model / "unet/diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with WorkerStack(redis_url, s3, tmp_path, model="cut", fake=False) as stack:
        [job_id] = stack.submit("cat")
        worker = stack.launch(model_path=model)
        assert worker.wait() == 2
        lines = [json.loads(line) for line in worker.log.splitlines() if line.startswith("{")]
        reason = next(line["reason"] for line in lines if line["event"] == "cannot start")
        assert reason.startswith(f"{weights} is truncated or damaged")
        assert stack.ledger.workers("cut") == []
        assert (stack.view(job_id).state, stack.view(job_id).attempts) == (JobState.QUEUED, 0)


def test_sigterm_while_the_model_loads_ends_the_worker(stack: WorkerStack) -> None:
    worker = stack.launch(model="slow")
    children = wait_until(worker.children, 60, what="the engine process")
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert not [child for child in children if child.is_running()]


def test_a_worker_whose_device_fails_again_and_again_gives_it_up(stack: WorkerStack) -> None:
    worker = stack.start(max_attempts=9)
    stack.submit(*["segfault"] * 12)
    assert worker.wait(120) == 3
    assert "gives its device up" in worker.log
