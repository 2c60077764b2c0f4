"""What stands behind the objects: plain colours and six painted places."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from tools.tiny_emoji.scenes.colours import BACKGROUNDS

SIZE = 128
PLACES = {
    "grass": "on green grass under a blue sky",
    "beach": "on a sandy beach by the sea",
    "sunset": "at sunset",
    "night": "in the night sky with stars",
    "snow": "in the snow",
    "water": "under water",
}
_DOTS = {"night": (255, 250, 215), "snow": (255, 255, 255), "water": (170, 225, 245)}
_COLOUR_NOISE, _PLACE_NOISE = 9.0, 4.0

Stops = list[tuple[float, tuple[int, int, int]]]


def _stops(place: str, horizon: float) -> Stops:
    """The place's vertical gradient: colours by height (0 is the top)."""
    above, below = horizon - 0.012, horizon + 0.012
    paint: dict[str, Callable[[], Stops]] = {
        "grass": lambda: [(0, (95, 170, 240)), (above, (185, 225, 250)), (below, (105, 190, 80)), (1, (55, 140, 50))],
        "beach": lambda: [
            (0, (120, 195, 245)), (horizon - 0.22, (190, 230, 250)), (horizon - 0.20, (40, 150, 205)),
            (above, (70, 185, 215)), (below, (240, 215, 160)), (1, (225, 190, 130)),
        ],
        "sunset": lambda: [(0, (85, 55, 130)), (0.35, (200, 80, 120)), (0.68, (250, 150, 80)), (1, (255, 205, 110))],
        "night": lambda: [(0, (8, 10, 35)), (1, (28, 35, 85))],
        "snow": lambda: [
            (0, (150, 180, 215)), (above, (205, 220, 235)), (below, (250, 252, 255)), (1, (228, 238, 248)),
        ],
        "water": lambda: [(0, (70, 180, 215)), (0.6, (25, 110, 175)), (1, (12, 60, 115))],
    }  # fmt: skip
    return paint[place]()


def _gradient(stops: Stops) -> np.ndarray:
    """Float RGB ``[SIZE, SIZE, 3]``."""
    height, positions = np.linspace(0, 1, SIZE), [position for position, _ in stops]
    channels = [np.interp(height, positions, [colour[channel] for _, colour in stops]) for channel in range(3)]
    return np.repeat(np.stack(channels, -1)[:, None], SIZE, 1)


def _scatter(image: Image.Image, place: str, rng: np.random.Generator) -> Image.Image:
    """Stars, snowflakes or bubbles, drawn at twice the size so that their edges are smooth."""
    large = image.resize((SIZE * 2, SIZE * 2))
    draw = ImageDraw.Draw(large)
    for _ in range(rng.integers(14, 24)):
        x, y = rng.uniform(0, 2 * SIZE, 2)
        radius = rng.uniform(1.5, 3.2) * (1.5 if place == "water" else 1)
        box = (x - radius, y - radius, x + radius, y + radius)
        if place == "water":
            draw.ellipse(box, outline=_DOTS[place], width=2)
        else:
            draw.ellipse(box, fill=_DOTS[place])
    return large.resize((SIZE, SIZE), Image.Resampling.BOX)


def _plain(colour: str, rng: np.random.Generator) -> Image.Image:
    noise = 0.0 if colour == "white" else rng.normal(0, _COLOUR_NOISE, 3)
    rgb = np.clip(np.array(BACKGROUNDS[colour]) + noise, 0, 255).round().astype(np.uint8)
    return Image.fromarray(np.broadcast_to(rgb, (SIZE, SIZE, 3)).copy())


def background(kind: str, rng: np.random.Generator) -> Image.Image:
    """An RGB image of ``SIZE`` pixels a side: a colour of ``BACKGROUNDS`` or one of ``PLACES``."""
    if kind in BACKGROUNDS:
        return _plain(kind, rng)
    pixels = _gradient(_stops(kind, 0.62 + rng.uniform(-0.05, 0.05))) + rng.normal(0, _PLACE_NOISE, 3)
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return _scatter(image, kind, rng) if kind in _DOTS else image
