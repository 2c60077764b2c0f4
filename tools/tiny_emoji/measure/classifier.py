"""A small classifier of object and object colour, trained on composed scenes with this repository's own art.

It sees single objects on plain colours and places, blurred by chance, so that soft images don't surprise it; an eighth
of the images go through the VAE (a round trip costs more than everything else here). Held-out combinations are not
among what it is trained on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from tools.tiny_emoji.progress import Progress
from tools.tiny_emoji.scenes.art import Art
from tools.tiny_emoji.scenes.colours import OBJECT_COLOURS, Image8
from tools.tiny_emoji.scenes.compose import Mix, compose
from tools.tiny_emoji.scenes.scene import Thing
from tools.tiny_emoji.training.images import to_batch, to_images
from tools.tiny_emoji.training.networks import load_vae

TRAINING = Mix(pairs=0.0, layouts=0.0, recolours=0.5, places=0.1)
_WIDTHS = (24, 48, 96, 128)
_BATCH = 32
_HELD_OUT_SEED = 424_242
_RATE = 2e-3
_THROUGH_VAE = 8  # one in so many
_UNNAMED = -100  # functional.cross_entropy leaves these out


class Net(nn.Module):
    """Four convolutions on 64x64 pixels, and a head for each question."""

    def __init__(self, nouns: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((3, *_WIDTHS), _WIDTHS, strict=False):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.object, self.colour = nn.Linear(_WIDTHS[-1] * 4, nouns), nn.Linear(_WIDTHS[-1] * 4, len(OBJECT_COLOURS))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of object and colour for ``[N, 3, 128, 128]`` in [-1, 1]."""
        found = functional.adaptive_avg_pool2d(self.body(functional.avg_pool2d(images, 2)), 2).flatten(1)
        return self.object(found), self.colour(found)


@dataclass(frozen=True, slots=True)
class Judge:
    """A trained classifier, and its chance levels."""

    nouns: tuple[str, ...]
    net: Net = field(repr=False)

    @torch.inference_mode()
    def look(self, images: Sequence[Image8]) -> list[tuple[str, str]]:
        """(object, colour) of each image."""
        objects, colours = self.net.eval()(to_batch(images))
        pairs = zip(objects.argmax(1).tolist(), colours.argmax(1).tolist(), strict=True)
        return [(self.nouns[noun], OBJECT_COLOURS[colour]) for noun, colour in pairs]


def _labels(things: Sequence[Thing], nouns: Sequence[str]) -> tuple[Tensor, Tensor]:
    objects = [nouns.index(thing.noun) for thing in things]
    colours = [OBJECT_COLOURS.index(thing.colour) if thing.colour in OBJECT_COLOURS else _UNNAMED for thing in things]
    return torch.tensor(objects), torch.tensor(colours)


@torch.no_grad()
def _soften(images: Tensor, vae: Any, rng: np.random.Generator) -> Tensor:
    """Some of the images through the VAE, and every other batch blurred."""
    some = len(images) // _THROUGH_VAE
    through = vae.decode(vae.encode(images[:some]).latent_dist.mean).sample.clamp(-1, 1)
    images = torch.cat([through, images[some:]])
    if rng.random() < 0.5:
        factor = int(rng.integers(2, 4))
        small = functional.avg_pool2d(images, factor)
        images = functional.interpolate(small, size=images.shape[-2:], mode="bilinear", align_corners=False)
    return images


def train_judge(art: Art, vae_path: Path, samples: int, rest: Callable[[], None], seed: int = 0) -> Judge:
    """Train on ``samples`` composed images; ``rest`` is called between batches and may wait."""
    torch.manual_seed(seed)
    judge, vae, rng = Judge(art.nouns, Net(len(art.nouns))), load_vae(vae_path), np.random.default_rng((seed, 11))
    steps = max(1, samples // _BATCH)
    optimizer = torch.optim.AdamW(judge.net.parameters(), lr=_RATE)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=_RATE, total_steps=steps + 1)
    progress = Progress("classifier", 0, steps * _BATCH, sys.stdout)
    for step in range(steps):
        rest()
        images, scenes = zip(*(compose(art, rng, TRAINING) for _ in range(_BATCH)), strict=True)
        objects, colours = judge.net.train()(_soften(to_batch(images), vae, rng))
        wanted = _labels([scene.things[0] for scene in scenes], art.nouns)
        loss = functional.cross_entropy(objects, wanted[0]) + functional.cross_entropy(colours, wanted[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
        progress.show((step + 1) * _BATCH, f"loss {loss.item():.3f}")
    return judge


def held_out_accuracy(judge: Judge, art: Art, vae_path: Path, count: int) -> dict[str, float]:
    """The classifier's accuracy on ``count`` fresh scenes through the VAE, held-out combinations among them."""
    vae, rng = load_vae(vae_path), np.random.default_rng(_HELD_OUT_SEED)
    asked, right = {"object": 0, "colour": 0}, {"object": 0, "colour": 0}
    for start in range(0, count, _BATCH):
        batch = [compose(art, rng, TRAINING, reject=lambda scene: False) for _ in range(min(_BATCH, count - start))]
        images, scenes = zip(*batch, strict=True)
        with torch.inference_mode():
            through = vae.decode(vae.encode(to_batch(images)).latent_dist.mean).sample
            seen = judge.look(list(to_images(through)))
        for (noun, colour), thing in zip(seen, (scene.things[0] for scene in scenes), strict=True):
            asked["object"] += 1
            right["object"] += noun == thing.noun
            if thing.colour in OBJECT_COLOURS:
                asked["colour"] += 1
                right["colour"] += colour == thing.colour
    return {question: right[question] / max(1, asked[question]) for question in asked}


def save_judge(judge: Judge, path: Path) -> None:
    """Keep a classifier, with its nouns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"nouns": list(judge.nouns), "net": judge.net.state_dict()}, path)


def load_judge(path: Path) -> Judge:
    """Read what :func:`save_judge` wrote."""
    content = torch.load(path, weights_only=True)
    net = Net(len(content["nouns"]))
    net.load_state_dict(content["net"])
    return Judge(tuple(content["nouns"]), net)
