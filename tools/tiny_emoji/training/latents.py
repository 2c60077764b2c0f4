"""Latents made once: the encoder's means of composed images, with the scenes that captions are drawn from."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tools.tiny_emoji.progress import Progress
from tools.tiny_emoji.scenes.art import load_art
from tools.tiny_emoji.scenes.compose import Mix, compose
from tools.tiny_emoji.scenes.held_out import is_held_out
from tools.tiny_emoji.scenes.scene import Scene, scene_of
from tools.tiny_emoji.training.images import to_batch
from tools.tiny_emoji.training.networks import load_vae

_BATCH = 16


@dataclass(frozen=True, slots=True)
class Latents:
    """``values`` ``[N, 4, 16, 16]`` in half precision, their scenes, and the deviation that the scale comes from."""

    values: Tensor
    scenes: tuple[Scene, ...]
    deviation: float


@torch.inference_mode()
def write_latents(
    path: Path, vae_path: Path, nouns: Collection[str], count: int, seed: int, mix: Mix, rest: Callable[[], None]
) -> None:
    """Compose, encode and write ``count`` latents; ``rest`` is called between batches and may wait or raise."""
    vae, art, rng = load_vae(vae_path), load_art(nouns), np.random.default_rng((seed, 100))
    values: list[Tensor] = []
    scenes: list[Scene] = []
    progress = Progress(f"latents {path.stem}", 0, count, sys.stdout)
    while len(scenes) < count:
        rest()
        images, shown = zip(*(compose(art, rng, mix) for _ in range(min(_BATCH, count - len(scenes)))), strict=True)
        values.append(vae.encode(to_batch(images)).latent_dist.mean.half())
        scenes += shown
        progress.show(len(scenes))
    joined = torch.cat(values)
    content = {"z": joined, "attrs": [scene.as_dict() for scene in scenes], "std": float(joined.float().std())}
    unfinished = path.with_name(path.name + ".tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, unfinished)
    unfinished.replace(path)


def read_latents(paths: Sequence[Path], nouns: Collection[str]) -> Latents:
    """Join files, without scenes of other nouns and without held-out ones, which files made earlier may hold.

    Raises :class:`ValueError` when there is nothing to train on.
    """
    values: list[Tensor] = []
    scenes: list[Scene] = []
    deviations: list[float] = []
    for path in paths:
        content = torch.load(path, weights_only=True, mmap=True)
        found = [scene_of(fields) for fields in content["attrs"]]
        keep = [
            index
            for index, scene in enumerate(found)
            if not is_held_out(scene) and all(thing.noun in nouns for thing in scene.things)
        ]
        values.append(content["z"][keep])
        scenes += [found[index] for index in keep]
        deviations.append(float(content["std"]))
    if not scenes:
        raise ValueError("there are no latents to train on; run the phase `latents` first")
    return Latents(torch.cat(values), tuple(scenes), deviations[0])
