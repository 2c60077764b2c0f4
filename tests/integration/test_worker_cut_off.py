"""A worker that is told to leave while Redis swallows everything that it says."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.faults.proxies import Proxies
from synerdiff.cli.embedded import EmbeddedRedis, S3Access
from synerdiff.protocol import JobState
from tests.support import wait_until
from tests.worker_stack import WorkerStack

LONG = 1_000_000


@pytest.fixture
def proxies() -> Iterator[Proxies]:
    with closing(Proxies()) as opened:
        yield opened


@pytest.mark.parametrize("insists", [False, True])
def test_a_black_holed_worker_leaves_all_the_same_and_its_job_runs_elsewhere(
    redis_server: EmbeddedRedis, redis_url: str, s3: S3Access, tmp_path: Path, proxies: Proxies, insists: bool
) -> None:
    proxy = proxies.open(redis_server.port)
    database = redis_url.rpartition("/")[2]
    with WorkerStack(redis_url, s3, tmp_path, model="fake") as stack:
        worker = stack.start(redis_url=f"redis://127.0.0.1:{proxy.port}/{database}", grace_s=600 if insists else 1)
        children = worker.children()
        [job_id] = stack.submit("cat", steps=LONG)
        stack.running(job_id)
        proxy.set("hole")
        worker.signal(signal.SIGTERM)
        if insists:
            wait_until(lambda: "worker draining" in worker.log, what="the drain")
            worker.signal(signal.SIGTERM)
        assert worker.wait(120) == 143
        assert insists or "did not leave in time" in worker.log
        wait_until(lambda: not [child for child in children if child.is_running()], what="the engine to end")
        wait_until(lambda: stack.view(job_id).state is JobState.QUEUED, what="the job to be taken back")
        assert stack.view(job_id).attempts == 0
