"""Previews: what the projection makes of latents, and when the engine takes them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from synerdiff.engine.config import EngineConfig
from synerdiff.engine.engine import Engine
from synerdiff.engine.model import load_model
from synerdiff.engine.preview import MAX_SIDE, Projection, fit_projection
from synerdiff.engine.types import ImageReady, Previewed
from tests.engines import drain, random_model, request


class Clock:
    """A clock that moves a second with every look."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def previews(**fields: Any) -> list[Previewed]:
    every_s = fields.pop("every_s", 0.5)
    engine = Engine(random_model(), EngineConfig(preview_s=every_s), clock=Clock())
    engine.admit(request(steps=4, **fields))
    return [event for event in drain(engine) if isinstance(event, Previewed)]


@pytest.mark.parametrize("sampler", ["ddim", "euler", "euler_a", "dpmpp_2m"])
def test_every_image_of_a_job_is_previewed_as_it_gets_on(sampler: str) -> None:
    found = previews(n=2, sampler=sampler)
    assert [(event.step, event.steps) for event in found] == [(step, 4) for step in (1, 2, 3, 4)]
    for event in found:
        assert sorted(event.images) == [0, 1]
        assert {(pixels.shape[2], str(pixels.dtype)) for pixels in event.images.values()} == {(3, "uint8")}


def test_the_interval_is_kept_and_zero_means_none() -> None:
    assert previews(every_s=0.0) == []
    assert 1 <= len(previews(every_s=8.0)) < 4


def test_a_preview_is_small_however_large_the_image() -> None:
    projection = Projection(torch.zeros(5, 3))
    assert projection(torch.zeros(1, 4, 16, 8)).shape == (1, 16, 8, 3)
    height, width = projection(torch.zeros(1, 4, 256, 200)).shape[1:3]
    assert (height, width) == (MAX_SIDE, 50)


def test_the_last_preview_of_the_shipped_model_looks_like_its_image() -> None:
    model = load_model(None, device="cpu")
    engine = Engine(model, EngineConfig(preview_s=0.5), clock=Clock())
    engine.admit(request(prompt="a red apple on a blue background", width=128, height=128, steps=12))
    events = drain(engine)
    (image,) = [event for event in events if isinstance(event, ImageReady)]
    found = [event.images[0] for event in events if isinstance(event, Previewed)]
    colours = functional.avg_pool2d(torch.tensor(image.pixels).permute(2, 0, 1)[None].float(), 8)[0].permute(1, 2, 0)
    errors = [float((torch.tensor(pixels).float() - colours).square().mean().sqrt()) for pixels in found]
    assert errors[-1] < 20  # of 255; 10 on the machine it was written on
    assert errors[-1] < errors[0] / 2
    assert fit_projection(model).weights.shape == (5, 3)
