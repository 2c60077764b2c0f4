"""Scenes drawn at random and painted: the only source of training images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from PIL import Image

from tools.tiny_emoji.scenes.art import STYLES, Art, Sprite
from tools.tiny_emoji.scenes.backgrounds import PLACES, SIZE, background
from tools.tiny_emoji.scenes.colours import BACKGROUNDS, HUES, Image8, in_colour
from tools.tiny_emoji.scenes.held_out import HeldOut, is_held_out
from tools.tiny_emoji.scenes.scene import Scene, Thing

# Another hue makes another object of these, or none.
KEEPS_COLOUR = {"rainbow", "earth", "traffic light", "sun", "moon", "poop", "tomato", "egg"}
POSITIONS = (None, "on the left", "on the right", "at the top", "at the bottom")
_SHIFTS = {"on the left": (-1, 0), "on the right": (1, 0), "at the top": (0, -1), "at the bottom": (0, 1)}
Option = TypeVar("Option")


@dataclass(frozen=True, slots=True)
class Mix:
    """How often scenes have what: a place for background, two things, an unusual layout, another colour, a flip."""

    places: float = 0.18
    pairs: float = 0.08
    layouts: float = 0.12
    recolours: float = 0.5
    flips: float = 0.5
    styles: tuple[str, ...] = STYLES


VAE_MIX = Mix(places=0.2, pairs=0.2, layouts=0.2, recolours=0.4)


@dataclass(frozen=True, slots=True)
class Placed:
    """Art with its centre and longest side, in pixels of the image."""

    art: Image.Image
    x: float
    y: float
    side: float


def _choose(options: Sequence[Option], rng: np.random.Generator) -> Option:
    return options[int(rng.integers(len(options)))]


def _kind(mix: Mix, rng: np.random.Generator) -> str:
    if rng.random() < mix.places:
        return _choose(list(PLACES), rng)
    return "white" if rng.random() < 0.18 else _choose(list(BACKGROUNDS), rng)


def _in_colour(sprite: Sprite, colour: str) -> Image.Image:
    return sprite.image if sprite.hue is None else in_colour(sprite.image, sprite.hue, colour)


def _pick(art: Art, style: str, mix: Mix, rng: np.random.Generator) -> tuple[Image.Image, Thing]:
    noun = _choose(art.nouns, rng)
    sprite = _choose(art.of(noun, style), rng)
    image, thing = sprite.image, Thing(noun, sprite.colour)
    if rng.random() < mix.recolours and sprite.hue is not None and noun not in KEEPS_COLOUR:
        target = _choose(list(HUES), rng)
        if target != sprite.colour:
            image, thing = _in_colour(sprite, target), Thing(noun, target, recoloured=True)
    if rng.random() < mix.flips:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image, thing


def _pair(art: Art, style: str, kind: str, mix: Mix, rng: np.random.Generator) -> tuple[Scene, list[Placed]]:
    placed, things = [], []
    for centre in (0.27, 0.73):
        image, thing = _pick(art, style, mix, rng)
        x, y = SIZE * centre + rng.normal(0, 1.5), SIZE / 2 + rng.normal(0, 2)
        placed.append(Placed(image, x, y, SIZE * rng.uniform(0.40, 0.46)))
        things.append(thing)
    return Scene(style, kind, tuple(things)), placed


def _single(
    art: Art, style: str, kind: str, mix: Mix, unusual: bool, rng: np.random.Generator
) -> tuple[Scene, list[Placed]]:
    image, thing = _pick(art, style, mix, rng)
    size, position, share = None, None, rng.uniform(0.68, 0.80)
    if unusual and rng.random() < 1 / 6:
        size, share = "large", rng.uniform(0.9, 0.97)
    elif unusual:
        size, position, share = "small", _choose(POSITIONS, rng), rng.uniform(0.36, 0.44)
    right, down = _SHIFTS.get(position or "", (0, 0))
    x, y = SIZE * (0.5 + 0.24 * right) + rng.normal(0, 2), SIZE * (0.5 + 0.24 * down) + rng.normal(0, 2)
    return Scene(style, kind, (thing,), size, position), [Placed(image, x, y, SIZE * share)]


def _draw(art: Art, mix: Mix, rng: np.random.Generator) -> tuple[Scene, list[Placed]]:
    style, kind, chance = _choose(mix.styles, rng), _kind(mix, rng), rng.random()
    if chance < mix.pairs:
        return _pair(art, style, kind, mix, rng)
    return _single(art, style, kind, mix, chance < mix.pairs + mix.layouts, rng)


def _paint(kind: str, placed: Sequence[Placed], rng: np.random.Generator) -> Image8:
    canvas = background(kind, rng)
    for item in placed:
        scale = item.side / max(item.art.size)
        size = (max(1, round(item.art.width * scale)), max(1, round(item.art.height * scale)))
        filtering = Image.Resampling.BICUBIC if scale > 0.5 else Image.Resampling.LANCZOS
        art = item.art.resize(size, filtering)
        canvas.paste(art, (round(item.x - size[0] / 2), round(item.y - size[1] / 2)), art)
    return np.asarray(canvas)


def compose(
    art: Art, rng: np.random.Generator, mix: Mix | None = None, *, reject: Callable[[Scene], bool] = is_held_out
) -> tuple[Image8, Scene]:
    """Draw a scene until ``reject`` lets it pass, and paint it: uint8 RGB ``[128, 128, 3]`` and what it shows."""
    while True:
        scene, placed = _draw(art, mix or Mix(), rng)
        if not reject(scene):
            return _paint(scene.background, placed, rng), scene


def reference(art: Art, wanted: HeldOut, rng: np.random.Generator) -> Image8:
    """Paint what a held-out prompt asks for, to judge the judges of generated images."""
    sprite = _choose(art.of(wanted.noun, _choose(STYLES, rng)), rng)
    own = sprite.colour == wanted.colour
    image = sprite.image if own or wanted.colour not in HUES else _in_colour(sprite, wanted.colour)
    return _paint(wanted.background, [Placed(image, SIZE / 2, SIZE / 2, SIZE * rng.uniform(0.68, 0.80))], rng)
