"""The limit of a worker's departure, and when it is set."""

from __future__ import annotations

import signal
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest
from celery.worker import state

from synerdiff.workers.overdue import Overdue
from synerdiff.workers.step import OVERDUE_S, Departure
from tests.support import wait_until


def test_the_first_of_several_limits_counts() -> None:
    ended = threading.Event()
    overdue = Overdue(ended.set)
    overdue.start()
    overdue.within(3600.0)
    wait_until(lambda: overdue._limits.empty(), what="the first limit to be taken")
    assert not ended.is_set()
    overdue.within(0.0)
    overdue.within(7200.0)
    assert ended.wait(30)


def test_the_first_signal_leaves_the_grace_and_the_second_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []
    left = threading.Event()
    monkeypatch.setattr(Overdue, "within", lambda _, seconds: limits.append(seconds))
    monkeypatch.setattr(Departure, "_leave_now", lambda _: left.set())
    monkeypatch.setattr(state, "should_stop", None)
    worker = SimpleNamespace(gate=SimpleNamespace(close_soon=lambda: None))
    host: Any = SimpleNamespace(worker=worker, grace_s=300.0)
    departure = Departure(cast(Any, host))
    for _ in range(3):
        departure._on_signal(signal.SIGTERM, None)
    assert left.wait(30)
    assert limits == [300.0 + OVERDUE_S, OVERDUE_S]
