"""Inside a slot nothing is read back from the device, for which a host would wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from synerdiff.engine.config import EngineConfig
from synerdiff.engine.engine import Engine
from synerdiff.engine.types import ImageReady, Previewed
from tests.engines import drain, random_model, request

READS = ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "__index__")


class Inside:
    """Whether a slot runs; then reading a tensor's values is an error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slot = False
        self.slots = 0
        for name in READS:
            monkeypatch.setattr(torch.Tensor, name, self._guarded(name, getattr(torch.Tensor, name)))

    def _guarded(self, name: str, read: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **options: Any) -> Any:
            assert not self.slot, f"Tensor.{name} inside a slot"
            return read(*args, **options)

        return guarded

    def marked(self, run: Callable[..., Any]) -> Callable[..., Any]:
        def marking(*args: Any) -> Any:
            self.slot, self.slots = True, self.slots + 1
            try:
                outcome = run(*args)
            finally:
                self.slot = False
            outcome.check()
            return outcome

        return marking


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl", "lcm"])
def test_a_slot_reads_nothing_back(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(family)
    engine = Engine(model, EngineConfig(preview_s=1e-9))
    inside = Inside(monkeypatch)
    monkeypatch.setattr(engine._executor, "run", inside.marked(engine._executor.run))
    for number, sampler in enumerate(model.entry.samplers):
        fields = {"sampler": sampler, "steps": 16, "negative_prompt": f"not {number}"}
        engine.admit(request(f"exact-{sampler}", **fields))
        engine.admit(request(f"fast-{sampler}", **fields, quality="fast"))
    events = drain(engine)
    made = [event for event in events if isinstance(event, ImageReady)]
    assert len(made) == 2 * len(model.entry.samplers)
    assert inside.slots >= 16
    assert any(isinstance(event, Previewed) for event in events)
    if family == "sd1":
        assert any(event.receipt.rows_skipped for event in made)
