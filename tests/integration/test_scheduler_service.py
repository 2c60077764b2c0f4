"""The scheduler as a process: starting, riding out a Redis that goes away, stopping."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from synerdiff.cli.embedded import EmbeddedRedis
from synerdiff.ledger import Ledger, WorkerReport
from synerdiff.protocol.errors import LedgerUnavailable
from tests.support import wait_until

START = "import sys, synerdiff.scheduler as s, synerdiff.settings as t; sys.exit(s.run_scheduler(t.load()))"


class Process:
    """A scheduler in a process of its own, with its log."""

    def __init__(self, url: str, log: Path) -> None:
        self._log = log
        environment = os.environ | {"SYNERDIFF_REDIS_URL": url, "SYNERDIFF_TICK_S": "0.2"}
        with log.open("wb") as stream:
            self.popen = subprocess.Popen([sys.executable, "-c", START], env=environment, stderr=stream)

    def log(self) -> str:
        return self._log.read_text()


@pytest.fixture
def process(own_redis: EmbeddedRedis, tmp_path: Path) -> Iterator[Process]:
    process = Process(own_redis.url, tmp_path / "scheduler.log")
    yield process
    process.popen.kill()
    process.popen.wait()


def has_plan(ledger: Ledger) -> bool:
    try:
        report = WorkerReport(name="w1", pool="m", capacity=4, profile_id="p1")
        ledger.heartbeat(report, 60.0)
        return ledger.get_plan("m", "p1") is not None
    except LedgerUnavailable:
        return False


def test_it_rides_out_a_redis_that_goes_away_and_stops_on_sigterm(own_redis: EmbeddedRedis, process: Process) -> None:
    ledger = Ledger.connect(own_redis.url)
    wait_until(lambda: has_plan(ledger), what="a plan")
    own_redis.kill()
    wait_until(lambda: "waits for Redis" in process.log(), what="the log to say so")
    own_redis.start()
    redis.Redis.from_url(own_redis.url).flushall()
    wait_until(lambda: has_plan(ledger), what="a plan again")
    assert process.log().count("waits for Redis") == 1
    process.popen.send_signal(signal.SIGTERM)
    assert process.popen.wait(20) == 0


def test_it_says_what_is_missing_at_start(tmp_path: Path) -> None:
    process = Process("redis://127.0.0.1:1/0", tmp_path / "log")
    assert process.popen.wait(60) == 2
    assert "Redis at redis://127.0.0.1:1/0 cannot be reached" in process.log()
    assert "set SYNERDIFF_REDIS_URL" in process.log()


def test_it_refuses_a_redis_that_may_drop_jobs(own_redis: EmbeddedRedis, tmp_path: Path) -> None:
    redis.Redis.from_url(own_redis.url).config_set("maxmemory-policy", "allkeys-lru")
    process = Process(own_redis.url, tmp_path / "log")
    assert process.popen.wait(60) == 2
    assert "noeviction" in process.log()
