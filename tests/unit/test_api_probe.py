"""A dependency that hangs makes no probe of the gateway hang."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from synerdiff.api import probe
from synerdiff.api.probe import NOT_YET, Probe
from synerdiff.protocol.errors import StorageUnavailable
from tests.support import wait_until


class Dependency:
    """Answers when it is let to; counts how often it is asked."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.asked = 0
        self.error: Exception | None = None

    def check(self) -> None:
        self.asked += 1
        self.answers.wait(30)
        if self.error is not None:
            raise self.error


def _says(asked: Probe, words: str) -> Callable[[], bool]:
    return lambda: asked.reason() == words


def test_a_hanging_check_is_asked_once_and_waited_for_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PATIENCE_S", 0.01)
    dependency = Dependency()
    s3 = Probe(dependency.check)
    assert [s3.reason() for _ in range(5)] == [NOT_YET] * 5
    assert dependency.asked == 1
    dependency.answers.set()
    wait_until(_says(s3, "ok"), what="the answer")
    assert dependency.asked == 1


def test_an_old_answer_is_given_while_it_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    dependency = Dependency()
    dependency.answers.set()
    s3 = Probe(dependency.check)
    wait_until(_says(s3, "ok"), what="the first answer")
    dependency.error = StorageUnavailable("S3 is away")
    assert s3.reason() == "ok"
    monkeypatch.setattr(probe, "FRESH_S", 0.0)
    wait_until(_says(s3, "S3 is away"), what="the second answer")


def test_a_check_with_a_mistake_is_an_answer_too() -> None:
    dependency = Dependency()
    dependency.answers.set()
    dependency.error = RuntimeError("a mistake")
    wait_until(_says(Probe(dependency.check), "it could not be checked: RuntimeError"), what="the answer")
