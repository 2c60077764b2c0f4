"""A worker with the shipped model is killed with -9 in mid-batch: every job still ends once, with its images."""

from __future__ import annotations

import hashlib
import signal
from pathlib import Path

from synerdiff.cli.embedded import S3Access
from synerdiff.protocol import JobState
from synerdiff.settings.settings import SHIPPED_MODEL
from tests.support import wait_until
from tests.worker_stack import WorkerStack

PROMPTS = ("a red apple", "a blue car", "a green tree", "a yellow star", "a white cat", "a black dog")


def test_every_job_ends_once_after_a_worker_is_killed_in_mid_batch(
    redis_url: str, s3: S3Access, tmp_path: Path
) -> None:
    with WorkerStack(redis_url, s3, tmp_path, model=SHIPPED_MODEL, fake=False) as stack:
        first, second = stack.launch(capacity=4), stack.launch_with_celery()
        wait_until(lambda: len(stack.ledger.workers(stack.pool)) == 2, 240, what="two workers")
        assert {report.capacity for report in stack.ledger.workers(stack.pool)} == {4}
        ids = stack.submit(*PROMPTS, width=128, height=128, steps=6)
        wait_until(lambda: _busy(stack, first.process.pid), 60, what="the first worker in mid-batch")
        first.signal(signal.SIGKILL)
        views = stack.ended(ids, timeout_s=200)
        assert [view.state for view in views] == [JobState.SUCCEEDED] * len(ids)
        for view in views:
            kinds = [event.kind for event in stack.ledger.events(view.id)]
            assert kinds.count("succeeded") == 1
            [image] = view.images
            assert hashlib.sha256(stack.store.get(image.key)).hexdigest() == image.sha256
        assert any(view.receipt and view.receipt.rows_per_call > 2 for view in views)
        second.signal(signal.SIGTERM)
        assert second.wait() == 0


def _busy(stack: WorkerStack, pid: int) -> bool:
    """Whether the worker of this process is in the middle of a denoising job."""
    name = next(report.name for report in stack.ledger.workers(stack.pool) if report.pid == pid)
    views = stack.ledger.list_jobs(state=JobState.RUNNING, pool=stack.pool, limit=20)
    return any(view.worker == name and view.step >= 1 for view in views)
