"""The fleet behind Valkey Sentinel: it finds the master, and the next one after a kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from synerdiff.cli.embedded import S3Access
from synerdiff.client import Client
from synerdiff.protocol import JobState, JobView
from synerdiff.protocol.errors import LedgerUnavailable
from synerdiff.settings import load
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
        given = {**self._environment, "SYNERDIFF_REDIS_URL": redis_set.url("scheduler"), "SYNERDIFF_TICK_S": "0.2"}
        self.log = directory / "scheduler.log"
        with self.log.open("wb") as output:
            self.scheduler = subprocess.Popen([*COMMAND, "scheduler"], env=given, stdout=output, stderr=output)

    def _reconcile(self) -> None:
        """Left to the real scheduler."""

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
