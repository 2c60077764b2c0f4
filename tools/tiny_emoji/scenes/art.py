"""The emoji art in ``data/``, cropped, scaled and grouped by the noun that captions use."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from PIL import Image

from tools.tiny_emoji.scenes.colours import HUES, dominant

DATA = Path(__file__).parents[1] / "data"
STYLES = ("flat", "3d")
LONGEST_SIDE = 160
_SUFFIX = {"flat": "png", "3d": "webp"}
_SPOKEN = {*HUES, "black", "brown", "white"}
_EVERY = 15


@dataclass(frozen=True, slots=True)
class Sprite:
    """One emoji in one style: RGBA art, its mean hue in degrees, and its colour's name (None: no one colour)."""

    style: str
    image: Image.Image
    hue: float | None
    colour: str | None


@dataclass(frozen=True)
class Art:
    """Sprites by noun."""

    sprites: Mapping[str, tuple[Sprite, ...]]

    @cached_property
    def nouns(self) -> tuple[str, ...]:
        """Every noun, sorted."""
        return tuple(sorted(self.sprites))

    def of(self, noun: str, style: str) -> tuple[Sprite, ...]:
        """The noun's sprites in this style; all of them where it has none in this style."""
        return tuple(sprite for sprite in self.sprites[noun] if sprite.style == style) or self.sprites[noun]


def caption_nouns() -> frozenset[str]:
    """The nouns that captions use."""
    return frozenset((DATA / "nouns.txt").read_text(encoding="utf-8").split("\n")) - {""}


def split_colour(caption: str) -> tuple[str | None, str]:
    """Part a leading colour from its noun: ``red heart`` is a heart."""
    first, _, rest = caption.partition(" ")
    return (first, rest) if rest and first in _SPOKEN else (None, caption)


def _objects() -> list[tuple[str, str | None, str]]:
    """(noun, colour in its label, code) of every emoji."""
    rows = json.loads((DATA / "objects.json").read_text(encoding="utf-8"))
    return [(noun, colour, row["code"]) for row in rows for colour, noun in [split_colour(row["caption"])]]


def unseen_nouns() -> frozenset[str]:
    """Nouns whose art not even the VAE is trained on: every fifteenth that captions don't use."""
    return frozenset(sorted({noun for noun, _, _ in _objects()} - caption_nouns())[::_EVERY])


def _sprite(code: str, style: str, spoken: str | None) -> Sprite:
    image = Image.open(DATA / "sprites" / f"{code}_{style}.{_SUFFIX[style]}").convert("RGBA")
    image = image.crop(image.getbbox())
    scale = LONGEST_SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.LANCZOS)
    hue, name = dominant(image)
    return Sprite(style, image, hue, spoken or name)


def load_art(nouns: Collection[str] | None = None) -> Art:
    """Load the art of these nouns, or of all. Raises :class:`ValueError` naming a noun that has none."""
    sprites: dict[str, list[Sprite]] = {}
    for noun, spoken, code in _objects():
        if nouns is None or noun in nouns:
            sprites.setdefault(noun, []).extend(_sprite(code, style, spoken) for style in STYLES)
    if missing := sorted(set(nouns or ()) - set(sprites)):
        raise ValueError(f"no art for {', '.join(missing)}")
    return Art({noun: tuple(found) for noun, found in sprites.items()})
