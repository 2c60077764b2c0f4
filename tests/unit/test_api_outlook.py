"""Expectations at hand: from what was read lately, and from nothing else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from synerdiff.api import outlook
from synerdiff.api.outlook import Expectation, Outlook
from synerdiff.ledger import Ledger, PoolLoad, WorkerReport
from synerdiff.protocol import Job

JOB = Job(model="m", prompt="p", width=64, height=64, steps=10, seed=1)
HEAD = {"version": "1", "pace": '{"step_s": [1.0], "decode_s": 3.0, "pixels": 4096}'}


class Redis:
    """What an outlook reads, counted; it fails the test when it is ``away``."""

    def __init__(self) -> None:
        self.reads = 0
        self.away = False

    def pool_of(self, model: str) -> str:
        return str(self._read("pool"))

    def ledger(self) -> Ledger:
        report = WorkerReport(name="w", pool="pool", capacity=1, profile_id="p", state="ready")
        return cast(
            Ledger,
            SimpleNamespace(
                workers=lambda pool: self._read([report]),
                get_plan=lambda pool, profile: self._read(HEAD),
                server_time=lambda: self._read(5.0),
                load=lambda pool: self._read(PoolLoad("m", running=1, outstanding_cost=float(JOB.cost))),
            ),
        )

    def _read(self, answer: Any) -> Any:
        assert not self.away, "read from the event loop"
        self.reads += 1
        return answer


def test_what_is_at_hand_is_read_from_nowhere_and_gets_old(monkeypatch: pytest.MonkeyPatch) -> None:
    redis = Redis()
    here = Outlook(redis.ledger(), redis.pool_of)
    redis.away = True
    assert here.at_hand(JOB, 4) is None
    redis.away = False
    told = here.running(JOB, 4)
    assert told.eta_s is not None
    redis.away = True
    monkeypatch.setattr(outlook, "FRESH_S", 1e9)
    assert _later(here.at_hand(JOB, 4), told)
    monkeypatch.setattr(outlook, "STALE_S", -1.0)
    assert here.at_hand(JOB, 4) is None


def test_one_of_many_is_sent_to_read_again_and_the_rest_are_told_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    redis = Redis()
    here = Outlook(redis.ledger(), redis.pool_of)
    told = here.running(JOB, 4)
    redis.away = True
    monkeypatch.setattr(outlook, "STALE_S", 1e9)
    monkeypatch.setattr(outlook, "FRESH_S", 60.0)
    here._pools["pool"].read_at -= 120.0
    found = [here.at_hand(JOB, 4) for _ in range(300)]
    assert found[0] is None
    assert all(_later(each, told) for each in found[1:])


def test_it_waits_for_no_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlook, "FRESH_S", 1e9)
    redis = Redis()
    here = Outlook(redis.ledger(), redis.pool_of)
    told = here.running(JOB, 4)
    with here._lock:  # as a thread that reads another pool from a Redis that is silent
        assert _later(here.at_hand(JOB, 4), told)


def _later(found: Expectation | None, told: Expectation) -> bool:
    """Whether an expectation is one from before, less the time that has passed."""
    assert found is not None
    assert found.eta_s is not None
    assert told.eta_s is not None
    return 0.0 < found.eta_s <= told.eta_s
