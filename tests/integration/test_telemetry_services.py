"""Probes and metrics of a worker and a scheduler as real processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from synerdiff.cli.embedded import EmbeddedRedis, S3Access
from synerdiff.cli.ports import free_ports
from synerdiff.ledger import Ledger, WorkerReport
from tests.scrape import metrics, probe, probed
from tests.support import wait_until
from tests.worker_stack import WorkerStack

SCHEDULER = "import sys, synerdiff.scheduler as s, synerdiff.settings as t; sys.exit(s.run_scheduler(t.load(%r)))"


@pytest.fixture
def stack(own_redis: EmbeddedRedis, s3: S3Access, tmp_path: Path) -> Iterator[WorkerStack]:
    with WorkerStack(own_redis.url, s3, tmp_path, model="fake") as running:
        yield running


def test_a_worker_tells_its_state_and_counts_its_work(stack: WorkerStack, own_redis: EmbeddedRedis) -> None:
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    worker = stack.start(metrics_port=port)
    probed(url, "/readyz", 200)
    assert probe(url, "/healthz")[1]["checks"] == {"leases": "ok", "heartbeat": "ok"}
    stack.ended(stack.submit("cat", "dog", n=2, steps=4))
    stack.ended(stack.submit("fails"))
    found = metrics(url)
    assert found["synerdiff_jobs_total"][(("outcome", "succeeded"),)] == 2
    assert found["synerdiff_jobs_total"][(("outcome", "failed"),)] == 1
    assert found["synerdiff_images_total"][()] == 4
    assert found["synerdiff_vae_wait_seconds_count"][()] == 4
    assert found["synerdiff_vae_wait_seconds_sum"][()] == pytest.approx(4 * 0.3)
    assert found["synerdiff_s3_put_seconds_count"][()] == 4
    assert found["synerdiff_job_e2e_seconds_count"][()] == 2
    assert found["synerdiff_unet_rows_run_total"][()] > 0
    assert found["synerdiff_plan_source"][(("source", "built-in"),)] == 1
    [report] = wait_until(lambda: [r for r in stack.ledger.workers(stack.pool) if r.slots], what="a report of slots")
    assert len(report.slots) <= 40
    assert all(ended_at > 0 and rows > 0 for ended_at, _, _, _, rows, _, _ in report.slots)
    assert found["synerdiff_leases_held"][()] == found["synerdiff_upload_queue_bytes"][()] == 0
    assert httpx.get(f"{url}/nothing").status_code == 404

    own_redis.stop()
    assert not probed(url, "/readyz", 503)["ok"]
    assert probe(url, "/healthz")[0] == 200
    own_redis.start()
    probed(url, "/readyz", 200)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0


def test_a_worker_that_loads_its_model_is_alive_and_not_ready(stack: WorkerStack) -> None:
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    worker = stack.launch(model="slow", metrics_port=port)
    assert probed(url, "/readyz", 503)["checks"] == {"engine": "the model is being loaded"}
    assert probe(url, "/healthz")[0] == 200
    taken = stack.launch(model="slow", metrics_port=port)
    assert taken.wait() == 2
    lines = [json.loads(line) for line in taken.log.splitlines()]
    reason = next(line["reason"] for line in lines if line["event"] == "cannot start")
    assert reason.startswith(f"cannot serve metrics on 127.0.0.1:{port} (Address already in use)")
    worker.signal(signal.SIGTERM)
    assert worker.wait(30) == 0


def test_a_scheduler_tells_its_state_the_queue_and_its_plans(own_redis: EmbeddedRedis) -> None:
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    given = {"redis_url": own_redis.url, "tick_s": 0.2, "metrics_port": port}
    ledger = Ledger.connect(own_redis.url)
    ledger.heartbeat(WorkerReport(name="w1", pool="m", capacity=4, profile_id="p1"), 60.0)
    process = subprocess.Popen([sys.executable, "-c", SCHEDULER % given], stderr=subprocess.DEVNULL)
    try:
        probed(url, "/readyz", 200)
        wait_until(lambda: ledger.get_plan("m", "p1"), what="a plan")
        plan = (("pool", "m"), ("profile", "p1"))
        wait_until(lambda: "synerdiff_planned_version" in metrics(url), what="the plan's metrics")
        found = metrics(url)
        assert found["synerdiff_planned_batch_cap_samples"][plan] == 4
        assert found["synerdiff_pool_capacity_jobs"][(("pool", "m"),)] == 4
        assert found["synerdiff_scheduler_leader"][()] == found["synerdiff_ledger_up"][()] == 1
        own_redis.stop()
        assert "SYNERDIFF_REDIS_URL" in probed(url, "/readyz", 503)["checks"]["tick"]
        assert metrics(url)["synerdiff_ledger_up"][()] == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        ledger.close()
