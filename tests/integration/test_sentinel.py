"""The fleet behind Valkey Sentinel: it finds the master, and the next one after a kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from synerdiff.cli.embedded import S3Access
from synerdiff.cli.ports import free_ports
from synerdiff.client import Client
from synerdiff.protocol import JobState, JobView
from synerdiff.protocol.errors import LedgerUnavailable
from synerdiff.settings import load
from tests.flower_server import Flower
from tests.sentinels import PASSWORDS, SENTINEL_PASSWORD, Replicated
from tests.support import wait_until
from tests.worker_stack import WorkerStack

LONG = 1_000_000
COMMAND = [sys.executable, "-m", "synerdiff.cli"]


@pytest.fixture
def redis_set(tmp_path: Path) -> Iterator[Replicated]:
    with Replicated(tmp_path / "redis") as running:
        yield running


class Fleet(WorkerStack):
    """Workers with their own user of Redis, and a scheduler; the test itself is a producer."""

    def __init__(self, redis_set: Replicated, s3: S3Access, directory: Path) -> None:
        super().__init__(redis_set.url("scheduler"), s3, directory, model="fake")
        self._environment["SYNERDIFF_REDIS_URL"] = redis_set.url("worker")
        limits = {"max_steps": 2_000_000, "max_cost": 10**15}
        self.client = Client(load({"redis_url": redis_set.url("producer"), "model": "fake", "limits": limits}))
        self.log = directory / "scheduler.log"
        self.scheduler = self.service("scheduler", redis_set.url("scheduler"), self.log, TICK_S="0.2")

    def _reconcile(self) -> None:
        """Left to the real scheduler."""

    def service(self, name: str, redis_url: str, log: Path, **settings: str) -> subprocess.Popen[bytes]:
        """A service of the fleet as a process, with its own user of Redis."""
        given = {f"SYNERDIFF_{setting}": value for setting, value in settings.items()}
        environment = {**self._environment, "SYNERDIFF_REDIS_URL": redis_url, **given}
        with log.open("wb") as output:
            return subprocess.Popen([*COMMAND, name], env=environment, stdout=output, stderr=output)

    def view(self, job_id: str) -> JobView:
        """A job's record, once there is a master that tells it."""

        def told() -> JobView | None:
            try:
                return super(Fleet, self).view(job_id)
            except LedgerUnavailable:
                return None

        found = wait_until(told, 60, what="an answer of the master")
        assert found is not None
        return found

    def submit_all(self, *prompts: str, steps: int = 4) -> list[str]:
        return [self.client.submit(prompt=prompt, steps=steps, width=64, height=64) for prompt in prompts]

    def close(self) -> None:
        self.client.close()
        self.scheduler.kill()
        self.scheduler.wait(10)


class Gateway:
    """A gateway process, and a client of it."""

    def __init__(self, fleet: Fleet, redis_url: str, log: Path) -> None:
        [port] = free_ports(1)
        self.process = fleet.service("gateway", redis_url, log, GATEWAY_PORT=str(port))
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)

    def ready(self) -> int:
        """The status of ``/readyz``; 0 while nobody answers."""
        try:
            return self.http.get("/readyz").status_code
        except httpx.TransportError:
            return 0

    def post(self, prompt: str) -> httpx.Response:
        """Submit a small job."""
        return self.http.post(
            "/v1/jobs", json={"model": "fake", "prompt": prompt, "steps": 4, "width": 64, "height": 64}
        )

    def close(self) -> None:
        self.http.close()
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def gateway(redis_set: Replicated, fleet: Fleet, tmp_path: Path) -> Iterator[Gateway]:
    found = Gateway(fleet, redis_set.url("gateway"), tmp_path / "gateway.log")
    try:
        wait_until(lambda: found.ready() == 200, 90, what="the gateway")
        yield found
    finally:
        found.close()


@pytest.fixture
def flower(redis_set: Replicated, tmp_path: Path) -> Iterator[Flower]:
    found = Flower(redis_set.url("flower"), tmp_path / "flower.log")
    try:
        found.start()
        yield found
    finally:
        found.stop()


@pytest.fixture
def fleet(redis_set: Replicated, s3: S3Access, tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(redis_set, s3, tmp_path) as running:
        yield running
        running.close()


def test_accepted_jobs_survive_the_master_and_new_ones_are_taken(redis_set: Replicated, fleet: Fleet) -> None:
    worker = fleet.start()
    fleet.ended(fleet.submit_all("before"))
    held = fleet.submit_all("held", "by", "a worker", steps=LONG)
    fleet.running(held[0])
    waiting = fleet.submit_all("waits", "too")
    with redis_set.master.admin() as master:
        assert master.wait(1, 10_000) == 1  # the replica has what was accepted

    redis_set.sentinels[0].kill()  # the machine with a Sentinel and the master is lost
    redis_set.master.kill()
    wait_until(lambda: redis_set.replica.role() == "master", 60, what="the failover")
    views = fleet.ended(waiting, 120)
    assert [view.state for view in views] == [JobState.SUCCEEDED] * 2
    for job_id in held:
        assert fleet.view(job_id).state is JobState.RUNNING
        fleet.client.cancel(job_id)
    fleet.ended(held)

    def submitted() -> list[str] | None:
        try:
            return fleet.submit_all("after")
        except LedgerUnavailable:
            return None

    new = wait_until(submitted, 60, what="a submit after the failover")
    assert new is not None
    assert fleet.ended(new, 60)[0].state is JobState.SUCCEEDED
    assert worker.process.poll() is None
    assert fleet.scheduler.poll() is None

    redis_set.master.start()  # the old master comes back, is made a replica, and nobody writes to it
    wait_until(lambda: redis_set.master.role() == "slave", 60, what="the old master as a replica")
    assert fleet.ended(fleet.submit_all("and then"), 60)[0].state is JobState.SUCCEEDED
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    written = worker.log + fleet.log.read_text()
    assert not [secret for secret in (*PASSWORDS.values(), SENTINEL_PASSWORD) if secret in written]


def test_gateway_and_flower_follow_the_master(
    redis_set: Replicated, fleet: Fleet, gateway: Gateway, flower: Flower, tmp_path: Path
) -> None:
    fleet.start()

    def submitted(prompt: str) -> str | None:
        reply = gateway.post(prompt)
        if reply.status_code == 202:
            return str(reply.json()["id"])
        error = reply.json()["error"]  # one sentence, not a hang and not a crash
        assert (reply.status_code, error["code"], error["retryable"]) == (503, "ledger_unavailable", True)
        return None

    first = submitted("before")
    assert first is not None
    flower.until(first, "SUCCESS")
    redis_set.master.kill()
    killed = time.monotonic()
    new = wait_until(lambda: submitted("after"), 90, what="a submit on the new master")
    print(f"submits taken again {time.monotonic() - killed:.1f} s after the kill")  # noqa: T201 - pytest -s shows it
    assert new is not None
    assert gateway.ready() == 200
    fleet.ended([new])

    def shown() -> bool:
        """Whether a new job's end reached Flower: events are not kept for who is not connected yet."""
        later = submitted("later")
        return later is not None and bool(fleet.ended([later])) and flower.task(later).get("state") == "SUCCESS"

    wait_until(shown, 60, what="a task in Flower after the failover")
    assert gateway.http.get(f"/v1/jobs/{new}").json()["state"] == "succeeded"
    assert (gateway.process.poll(), flower.process.poll()) == (None, None)
    written = "".join((tmp_path / name).read_text() for name in ("gateway.log", "flower.log"))
    assert not [secret for secret in (*PASSWORDS.values(), SENTINEL_PASSWORD) if secret in written]


def test_a_master_that_may_not_write_is_waited_out(redis_set: Replicated, fleet: Fleet) -> None:
    worker = fleet.start()
    with redis_set.master.admin() as master:
        master.config_set("min-replicas-to-write", 2)
        with pytest.raises(LedgerUnavailable, match="NOREPLICAS"):
            fleet.submit_all("refused")
        wait_until(lambda: "refuses writes" in fleet.log.read_text(), 30, what="the scheduler's line")
        master.config_set("min-replicas-to-write", 1)
    assert fleet.ended(fleet.submit_all("taken"), 60)[0].state is JobState.SUCCEEDED
    assert (worker.process.poll(), fleet.scheduler.poll()) == (None, None)


def test_doctor_says_where_and_why_not(redis_set: Replicated, tmp_path: Path) -> None:
    def told(url: str) -> str:
        given = {**os.environ, "SYNERDIFF_REDIS_URL": url, "SYNERDIFF_S3_ENDPOINT": "http://127.0.0.1:1"}
        done = subprocess.run([*COMMAND, "doctor", "--json"], env=given, capture_output=True, text=True, cwd=tmp_path)
        assert SENTINEL_PASSWORD not in done.stdout + done.stderr
        return done.stdout

    good = redis_set.url("gateway")
    assert f'"where": "sentinel://127.0.0.1:{redis_set.sentinels[0].ports[0]}' in told(good)
    assert "knows a master of that name" in told(good.replace("master=images", "master=others"))
