"""Colours by name: what captions call them, and how art is recognised and recoloured."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image

Image8 = npt.NDArray[np.uint8]

HUES: Mapping[str, int] = {
    "red": 0, "orange": 28, "yellow": 50, "green": 130, "blue": 215, "purple": 272, "pink": 325,
}  # fmt: skip
BACKGROUNDS: Mapping[str, tuple[int, int, int]] = {
    "red": (214, 40, 45),
    "orange": (245, 140, 35),
    "yellow": (250, 215, 60),
    "green": (60, 165, 75),
    "light green": (165, 225, 150),
    "blue": (45, 100, 220),
    "light blue": (150, 205, 245),
    "purple": (125, 70, 190),
    "pink": (245, 150, 190),
    "brown": (125, 80, 50),
    "gray": (135, 138, 142),
    "black": (18, 18, 22),
    "white": (255, 255, 255),
}
OBJECT_COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")
_BOUNDS = ((12, "red"), (38, "orange"), (64, "yellow"), (168, "green"), (245, "blue"), (290, "purple"), (345, "pink"))
_BROWN_WHERE_DARK = ("orange", "red")
_DARK = 0.62
_TURN = 360 / 256  # degrees for each step of Pillow's hue


def name_of(hue: float, value: float) -> str:
    """The name of a hue in degrees; orange and red are brown where they are dark."""
    name = next((name for bound, name in _BOUNDS if hue < bound), "red")
    return "brown" if name in _BROWN_WHERE_DARK and value < _DARK else name


def dominant(art: Image.Image) -> tuple[float, str] | tuple[None, None]:
    """Mean hue in degrees and colour name of RGBA art, where one hue covers most of it; else two Nones."""
    small = np.asarray(art.resize((48, 48), Image.Resampling.BOX))
    opaque = small[..., 3] > 128
    hsv = np.asarray(Image.fromarray(np.ascontiguousarray(small[..., :3])).convert("HSV")).astype(float)
    hue, saturation, value = hsv[..., 0] * _TURN, hsv[..., 1] / 255, hsv[..., 2] / 255
    coloured = opaque & (saturation > 0.35) & (value > 0.25)
    if opaque.sum() < 50 or coloured.sum() < 0.6 * opaque.sum():
        return None, None
    mean = np.exp(1j * np.deg2rad(hue[coloured])).mean()
    if abs(mean) < 0.85:
        return None, None
    angle = math.degrees(math.atan2(mean.imag, mean.real)) % 360
    return angle, name_of(angle, float(np.median(value[coloured])))


def in_colour(art: Image.Image, hue: float, colour: str) -> Image.Image:
    """RGBA art of the mean ``hue`` in one of :data:`HUES`: every hue turned, and what would be brown made lighter."""
    hsv = np.asarray(art.convert("RGB").convert("HSV")).copy()
    hsv[..., 0] = (hsv[..., 0].astype(np.int16) + round((HUES[colour] - hue) / _TURN)) % 256
    if colour in _BROWN_WHERE_DARK:
        hsv[..., 2] = _lighter(hsv[..., 2], np.asarray(art.getchannel("A")) > 128)
    turned = Image.fromarray(hsv, "HSV").convert("RGB")
    turned.putalpha(art.getchannel("A"))
    return turned


def _lighter(value: Image8, opaque: npt.NDArray[np.bool_]) -> Image8:
    """Values whose median over the ``opaque`` pixels is well above dark."""
    factor = max(1.0, 1.25 * _DARK * 255 / max(1.0, float(np.median(value[opaque]))))
    lighter: Image8 = np.minimum(value * factor, 255).astype(np.uint8)
    return lighter
