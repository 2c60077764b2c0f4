"""The engine where memory ends: calls are cut, steps are made again, and what fits nowhere fails alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from synerdiff.engine.batch import Batch
from synerdiff.engine.types import (
    ImageReady,
    SetAside,
    SlotReport,
)
from tests.engines import (
    FakeUNet,
    decode_beside,
    drain,
    engine_with,
    failures,
    images,
    is_poison,
    request,
)


@pytest.mark.parametrize("most_rows", [1, 2, 3, 5])
def test_out_of_memory_splits_the_call_and_changes_no_image(most_rows: int) -> None:
    requests = [request(str(n), seed=n, prompt=f"star {n}", guidance_scale=1.0 + n) for n in range(4)]
    whole, cut = engine_with(FakeUNet()), engine_with(unet := FakeUNet(most_rows))
    for item in requests:
        whole.admit(item)
        cut.admit(item)
    expected, found = images(drain(whole)), images(drain(cut))

    assert max(unet.calls) <= most_rows
    assert found.keys() == expected.keys()
    for key, image in found.items():
        assert np.array_equal(image.pixels, expected[key].pixels)


def test_cut_calls_are_reported() -> None:
    engine = engine_with(FakeUNet(most_rows=2))
    engine.admit(request(n=2, steps=2))
    reports = [event for event in drain(engine) if isinstance(event, SlotReport) and event.rows]
    assert [report.splits for report in reports] == [1, 0]


def test_the_engine_remembers_how_many_rows_fit() -> None:
    unet = FakeUNet(most_rows=4)
    engine = engine_with(unet)
    engine.admit(request("many", n=4, steps=2))
    drain(engine)
    engine.admit(request("more", n=4, steps=1))
    engine.step()
    assert engine.active == 0
    assert engine.waiting == 2
    drain(engine)
    assert max(unet.calls) == 4


def test_an_image_that_fits_nowhere_fails_alone() -> None:
    class Picky(FakeUNet):
        def forward(self, latents: Tensor, timesteps: Tensor, **options: Any) -> tuple[Tensor]:
            if bool(is_poison(latents, options["encoder_hidden_states"]).any()):
                raise torch.OutOfMemoryError("no room for poison")
            return super().forward(latents, timesteps, **options)

    engine = engine_with(Picky())
    for name, prompt in (("good", "a star"), ("bad", "poison"), ("fine", "a tree")):
        engine.admit(request(name, prompt=prompt))
    events = drain(engine)

    assert failures(events) == {"bad": "out_of_memory"}
    assert set(images(events)) == {("good", 0), ("fine", 0)}


def test_no_room_for_any_row_fails_the_jobs_and_not_the_engine() -> None:
    engine = engine_with(FakeUNet(most_rows=0))
    engine.admit(request("one"))
    engine.admit(request("two"))
    assert failures(drain(engine)) == {"one": "out_of_memory", "two": "out_of_memory"}


TWO = (request("one", seed=1, steps=4, sampler="dpmpp_2m"), request("two", seed=2, steps=4, sampler="euler_a"))


def undisturbed() -> dict[tuple[str, int], ImageReady]:
    engine = engine_with()
    for item in TWO:
        engine.admit(item)
    return images(drain(engine))


def assert_same(found: dict[tuple[str, int], ImageReady]) -> None:
    expected = undisturbed()
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[key].pixels, image.pixels) for key, image in expected.items())


def test_a_step_that_finds_no_memory_once_fails_nobody() -> None:
    engine = engine_with(unet := FakeUNet())
    for item in TWO:
        engine.admit(item)
    engine.step()
    unet.most_rows = 0
    events = engine.step()
    unet.most_rows = 10_000
    assert [event.job_id for event in events if isinstance(event, SetAside)] == ["one"]
    assert engine.active == 1
    events += drain(engine)
    assert failures(events) == {}
    assert_same(images(events))


def test_a_step_is_first_tried_with_no_decode_beside_it() -> None:
    engine = engine_with(unet := FakeUNet(), plan=decode_beside("strips"))
    engine.admit(request("short", steps=1))
    for item in TWO:
        engine.admit(item)
    engine.step()
    assert engine.decoding == 1
    unet.most_rows = 0
    [report] = [event for event in engine.step() if isinstance(event, SlotReport)]
    unet.most_rows = 10_000
    assert (report.rows, report.active) == (0, 2)
    reports = [event for _ in range(2) for event in engine.step() if isinstance(event, SlotReport)]
    assert [report.chunks > 0 for report in reports] == [False, True]
    assert {key[0] for key in images(drain(engine))} == {"short", "one", "two"}


def test_an_image_that_fits_only_with_no_decode_beside_it_starts_over() -> None:
    class Picky(FakeUNet):
        tight = False

        def forward(self, latents: Tensor, timesteps: Tensor, **options: Any) -> tuple[Tensor]:
            if self.tight and bool(is_poison(latents, options["encoder_hidden_states"]).any()):
                raise torch.OutOfMemoryError("no room for poison")
            return super().forward(latents, timesteps, **options)

    engine, alone = engine_with(unet := Picky(), plan=decode_beside("strips")), engine_with()
    alone.admit(request("tight", prompt="poison", steps=4))
    engine.admit(request("short", steps=1))
    engine.admit(request("other", steps=6))
    engine.admit(request("tight", prompt="poison", steps=4))
    engine.step()
    unet.tight = True
    events = engine.step()
    unet.tight = False
    events += drain(engine)
    assert failures(events) == {}
    assert np.array_equal(images(events)["tight", 0].pixels, images(drain(alone))["tight", 0].pixels)


def test_a_step_that_is_cut_off_half_done_is_made_again_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(self: Batch, model_output: Tensor) -> None:
        for part in self._parts:
            part.history = None if part.history is None else part.history + 1
        raise torch.OutOfMemoryError("no room for the latents")

    engine = engine_with()
    for item in TWO:
        engine.admit(item)
    engine.step()
    with monkeypatch.context() as patched:
        patched.setattr(Batch, "advance", no_room)
        assert failures(engine.step()) == {}
    assert_same(images(drain(engine)))

    monkeypatch.setattr(Batch, "advance", no_room)
    engine.admit(request("alone"))
    assert failures(drain(engine)) == {"alone": "out_of_memory"}
