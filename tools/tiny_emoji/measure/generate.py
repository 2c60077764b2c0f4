"""Images of prompts, made by the product's own engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from synerdiff.engine.config import EngineConfig
from synerdiff.engine.engine import Engine
from synerdiff.engine.model import load_model
from synerdiff.engine.types import ImageReady, JobFailed, Request
from synerdiff.protocol.job import Quality
from tools.tiny_emoji.scenes.colours import Image8

STEPS = 25


def _request(number: int, prompt: str, guidance: float, seed: int, quality: Quality) -> Request:
    return Request(
        job_id=str(number),
        prompt=prompt,
        negative_prompt="",
        width=128,
        height=128,
        steps=STEPS,
        guidance_scale=guidance,
        sampler="ddim",
        seed=seed,
        n=1,
        quality=quality,
    )


def generate(
    model: Path | None,
    prompts: Sequence[str],
    guidance: float,
    *,
    seed: int = 0,
    quality: Quality = "exact",
    rest: Callable[[], None] = lambda: None,
) -> list[Image8]:
    """One image of 128 pixels a side for each prompt, 25 DDIM steps, seed ``seed`` plus its number.

    ``model`` None is the shipped one. ``rest`` is called between steps. Raises :class:`RuntimeError` when one fails.
    """
    engine = Engine(load_model(model, device="cpu", threads=1), EngineConfig(capacity=8))
    for number, prompt in enumerate(prompts):
        engine.admit(_request(number, prompt, guidance, seed + number, quality))
    images: dict[str, Image8] = {}
    while not engine.idle:
        rest()
        for event in engine.step():
            if isinstance(event, JobFailed):
                raise RuntimeError(f"{prompts[int(event.job_id)]!r}: {event.error.message}")
            if isinstance(event, ImageReady):
                images[event.job_id] = event.pixels
    return [images[str(number)] for number in range(len(prompts))]
