"""Real workers, the shipped model and a real kill -9: a rerun goes on where it stopped, to the same pixels."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synerdiff.cli.embedded import EmbeddedRedis, EmbeddedS3
from synerdiff.protocol import JobState, JobView
from synerdiff.settings.settings import SHIPPED_MODEL
from tests.support import wait_until
from tests.worker_stack import WorkerProcess, WorkerStack

EVERY = 5
STEPS = 150
PICTURE: dict[str, Any] = {
    "width": 128,
    "height": 128,
    "steps": STEPS,
    "sampler": "dpmpp_2m",
    "quality": "exact",
    "priority": 3,
}


@pytest.fixture(scope="module")
def stack(
    redis_server: EmbeddedRedis, s3_server: EmbeddedS3, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerStack]:
    """A ledger and a store for all tests here, which go on where the one before left off."""
    s3 = s3_server.make_bucket("latents-kept")
    with WorkerStack(redis_server.url, s3, tmp_path_factory.mktemp("latents"), model=SHIPPED_MODEL, fake=False) as made:
        made.ledger.client.flushall()
        yield made


def launch(stack: WorkerStack) -> WorkerProcess:
    worker = stack.launch(capacity=1, checkpoint_steps=EVERY, threads=1, grace_s=0)
    wait_until(lambda: serving(stack, worker), 240, what="the worker")
    return worker


def serving(stack: WorkerStack, worker: WorkerProcess) -> bool:
    return any(report.pid == worker.process.pid for report in stack.ledger.workers(stack.pool))


def pixels(stack: WorkerStack, view: JobView) -> Any:
    return np.asarray(Image.open(io.BytesIO(stack.store.get(view.images[0].key))))


def resumed_at(worker: WorkerProcess, job_id: str) -> int:
    """The step that a job went on from in this worker, by its log; 0 if it started over."""
    lines = [json.loads(line) for line in worker.log.splitlines() if "goes on from its checkpoint" in line]
    return next((int(line["step"]) for line in lines if line["job_id"] == job_id), 0)


def kept(stack: WorkerStack, job_id: str) -> int:
    return int(stack.ledger.client.hget(f"synerdiff:job:{job_id}", "kept") or 0)


def test_a_job_goes_on_after_kill_9_and_after_a_more_urgent_one_with_the_same_pixels(stack: WorkerStack) -> None:
    first = launch(stack)
    [whole] = stack.ended(stack.submit("a red apple", **PICTURE), 240)
    expected = pixels(stack, whole)

    [job_id] = stack.submit("a red apple", **PICTURE)
    wait_until(lambda: kept(stack, job_id) >= 2 * EVERY, 120, what="a second checkpoint")
    first.signal(signal.SIGKILL)
    first.wait()
    before, lost_at = kept(stack, job_id), stack.view(job_id).step
    assert stack.view(job_id).state is JobState.RUNNING
    second = launch(stack)
    [view] = stack.ended([job_id], 240)
    assert view.state is JobState.SUCCEEDED
    assert resumed_at(second, job_id) == before, "it started over, or from an older checkpoint"
    assert lost_at - before <= EVERY, "more was lost than the steps between two checkpoints, and one on its way"
    assert np.array_equal(pixels(stack, view), expected)
    assert view.receipt is not None
    assert whole.receipt is not None
    assert (view.receipt.rows_run, view.receipt.rows_skipped) == (whole.receipt.rows_run, whole.receipt.rows_skipped)
    assert not stack.ledger.client.exists(f"synerdiff:latents:{job_id}")

    [low] = stack.submit("a red apple", **PICTURE)
    stack.running(low, 2)
    [urgent] = stack.submit("a blue car", **{**PICTURE, "steps": 2, "priority": 9})
    [urgent_view, low_view] = stack.ended([urgent, low], 240)
    assert urgent_view.finished_at is not None
    assert low_view.finished_at is not None
    assert urgent_view.finished_at < low_view.finished_at
    assert "job makes way for a more urgent one" in second.log
    assert resumed_at(second, low) >= 2
    assert np.array_equal(pixels(stack, low_view), expected)
    assert int(stack.ledger.client.hget(f"synerdiff:job:{low}", "asides") or 0) == 1

    [handed] = stack.submit("a red apple", **PICTURE)
    stack.running(handed, 2)
    second.signal(signal.SIGTERM)
    assert second.wait() == 0
    assert stack.view(handed).state is JobState.QUEUED
    assert kept(stack, handed) >= 2, "what was done did not go along"
