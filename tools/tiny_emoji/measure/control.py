"""How well images follow their prompts: background, object and colour right, at several guidance scales.

The prompts are ``data/held_out.tsv``. The judges are judged too: ``ceiling`` is what they find in images composed for
the very same prompts and sent through the model's own VAE, so nothing generated can be expected to score higher.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synerdiff.protocol.job import Quality
from tools.tiny_emoji.measure.border import CHANCE, background_of
from tools.tiny_emoji.measure.classifier import Judge, held_out_accuracy
from tools.tiny_emoji.measure.generate import STEPS, generate
from tools.tiny_emoji.scenes.art import Art
from tools.tiny_emoji.scenes.colours import OBJECT_COLOURS, Image8
from tools.tiny_emoji.scenes.compose import reference
from tools.tiny_emoji.scenes.held_out import HeldOut, held_out_prompts
from tools.tiny_emoji.training.images import to_batch, to_images
from tools.tiny_emoji.training.networks import load_vae

GUIDANCE = (1.0, 3.0, 6.0)
PARTS = ("all", "natural", "recoloured")
_BATCH = 8

Rates = dict[str, dict[str, float]]
Answers = dict[str, list[bool]]
"""For each question, whether each image is right."""
_SEEDS_APART = 1000


def judged(images: Sequence[Image8], wanted: Sequence[HeldOut], judge: Judge | None) -> Answers:
    """Which images are right; without a judge, in their backgrounds alone."""
    right: Answers = {
        "background": [background_of(image) == row.background for image, row in zip(images, wanted, strict=True)]
    }
    if judge is not None:
        seen = judge.look(images)
        right["object"] = [found == row.noun for (found, _), row in zip(seen, wanted, strict=True)]
        right["colour"] = [found == row.colour for (_, found), row in zip(seen, wanted, strict=True)]
        right["all three"] = [all(answers) for answers in zip(*right.values(), strict=True)]
    return right


def score(images: Sequence[Image8], wanted: Sequence[HeldOut], judge: Judge | None) -> Rates:
    """Shares of images that are right, by part of the list and question."""
    return shares(judged(images, wanted, judge), wanted)


def shares(right: Answers, wanted: Sequence[HeldOut]) -> Rates:
    """The share of right answers, by part of the list and question."""
    return {part: {question: _share(answers, wanted, part) for question, answers in right.items()} for part in PARTS}


def _share(answers: Sequence[bool], wanted: Sequence[HeldOut], part: str) -> float:
    chosen = [answer for answer, row in zip(answers, wanted, strict=True) if part in ("all", row.part)]
    return sum(chosen) / max(1, len(chosen))


@torch.inference_mode()
def ceiling(art: Art, wanted: Sequence[HeldOut], vae_path: Path, judge: Judge | None) -> Rates:
    """What the judges find in images composed for these prompts, after a round trip through the VAE."""
    vae, rng = load_vae(vae_path), np.random.default_rng(5)
    images: list[Image8] = []
    for start in range(0, len(wanted), _BATCH):
        batch = to_batch([reference(art, row, rng) for row in wanted[start : start + _BATCH]])
        images += list(to_images(vae.decode(vae.encode(batch).latent_dist.mean).sample))
    return score(images, wanted, judge)


def some_prompts(count: int) -> tuple[HeldOut, ...]:
    """The held-out prompts, or that many of them, evenly spread, for a quick look."""
    everything = held_out_prompts()
    return tuple(everything[len(everything) * number // count] for number in range(count)) if count else everything


def chance(art: Art) -> dict[str, float]:
    """What guessing would get."""
    return {"background": CHANCE, "object": 1 / len(art.nouns), "colour": 1 / len(OBJECT_COLOURS)}


def measure_model(
    model: Path | None,
    wanted: Sequence[HeldOut],
    guidance: Sequence[float],
    judge: Judge | None,
    rest: Callable[[], None],
    quality: Quality = "exact",
    seeds: int = 1,
) -> dict[str, list[Answers]]:
    """For each guidance scale and seed what is right; ``model`` None is the shipped one."""
    prompts = [row.prompt for row in wanted]

    def answers(scale: float, number: int) -> Answers:
        images = generate(model, prompts, scale, seed=_SEEDS_APART * number, quality=quality, rest=rest)
        return judged(images, wanted, judge)

    return {f"{scale:g}": [answers(scale, number) for number in range(seeds)] for scale in guidance}


def measure_control(
    models: dict[str, Path | None],
    wanted: Sequence[HeldOut],
    art: Art,
    vae_path: Path,
    judge: Judge | None,
    *,
    guidance: Sequence[float] = GUIDANCE,
    scenes: int = 256,
    rest: Callable[[], None] = lambda: None,
    quality: Quality = "exact",
    seeds: int = 1,
) -> dict[str, Any]:
    """The document that the report is written from: ``models`` by name, in the order of the curve.

    ``seeds`` images a prompt. The classifier is judged on ``scenes`` fresh scenes. ``answers`` holds, for each model,
    guidance scale and question, a text of 1 (right) and 0 a seed: what a paired comparison needs.
    """
    found = {name: measure_model(path, wanted, guidance, judge, rest, quality, seeds) for name, path in models.items()}
    return {
        "prompts": len(wanted),
        "seeds": seeds,
        "steps": STEPS,
        "sampler": "ddim",
        "quality": quality,
        "chance": chance(art),
        "classifier": held_out_accuracy(judge, art, vae_path, scenes) if judge else {},
        "ceiling": ceiling(art, wanted, vae_path, judge),
        "models": {
            name: {scale: shares(_joined(given), list(wanted) * seeds) for scale, given in scales.items()}
            for name, scales in found.items()
        },
        "answers": {
            name: {
                scale: {question: _texts(given, question) for question in given[0]} for scale, given in scales.items()
            }
            for name, scales in found.items()
        },
    }


def _joined(seeds: Sequence[Answers]) -> Answers:
    return {question: [right for answers in seeds for right in answers[question]] for question in seeds[0]}


def _texts(seeds: Sequence[Answers], question: str) -> list[str]:
    return ["".join("01"[right] for right in answers[question]) for answers in seeds]
