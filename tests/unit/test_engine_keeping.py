"""What a latent checkpoint is taken to cost, and how far apart checkpoints are by that."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from synerdiff.engine import keeping
from synerdiff.engine.config import EngineConfig
from synerdiff.engine.keeping import WHOLE_COST, Keeping

IMAGES = 8
STEPS = 1000
CHEAP_S = 0.0001


class Groups:
    """A full batch."""

    def __len__(self) -> int:
        return IMAGES

    def settle(self) -> None:
        pass


class Costs:
    """Makes each checkpoint take as long as the next of ``costs_s``."""

    def __init__(self, costs_s: Iterator[float], monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self._costs_s = costs_s
        monkeypatch.setattr(keeping, "encode", self.encode)
        job = SimpleNamespace(
            request=SimpleNamespace(job_id="j", steps=STEPS),
            at_risk=lambda: STEPS,
            too_large=False,
            samples=[],
            steps_done=1,
            keep=lambda: None,
        )
        jobs: Any = {"j": job}
        config = EngineConfig(keep_s=2.0)
        self.keeping = Keeping(cast(Any, None), config, jobs, cast(Any, Groups()), lambda: self.now)
        self.keeping.stepped(0.1, 1)

    def encode(self, *_: Any) -> bytes:
        self.now += next(self._costs_s)
        return b"latents"


def test_a_full_batch_is_kept_from_the_first_on(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = Costs(iter([CHEAP_S] * 20), monkeypatch)
    assert costs.keeping.interval() == 20  # what may be lost decides, 2 s of 0.1 s a step
    for _ in range(20):
        assert costs.keeping.due(["j"])
    assert costs.keeping.interval() == 20


def test_one_slow_moment_does_not_end_the_keeping(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = Costs(iter([60.0, *[CHEAP_S] * 5, 60.0]), monkeypatch)
    for _ in range(7):
        assert costs.keeping.due(["j"])
        assert costs.keeping.interval() == 20


def test_what_is_costly_to_keep_is_kept_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = Costs(iter([0.01] * 20), monkeypatch)
    for _ in range(9):
        costs.keeping.due(["j"])
    assert costs.keeping.interval() == pytest.approx(WHOLE_COST * 0.01 * IMAGES / 0.01 / 0.1, abs=1)


def test_what_is_too_dear_for_any_job_is_tried_again_some_time(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = Costs(iter([1.0] * 9 + [CHEAP_S]), monkeypatch)
    while costs.keeping.due(["j"]):
        pass
    assert costs.keeping.interval() >= STEPS
    for _ in range(10_000):
        costs.keeping.stepped(0.1, 1)
    assert costs.keeping.due(["j"])
