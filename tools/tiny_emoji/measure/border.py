"""The background's colour by pixel statistics.

The rule: take the outermost ring of 6 pixels, and of it the median of each RGB channel; the background is the colour of
the training palette nearest to that in CIELAB (Euclidean distance, D65). Thirteen colours: chance is 1 in 13.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tools.tiny_emoji.scenes.colours import BACKGROUNDS, Image8

RING = 6
CHANCE = 1 / len(BACKGROUNDS)
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])

Floats = npt.NDArray[np.float64]


def to_lab(rgb: npt.ArrayLike) -> Floats:
    """CIELAB of sRGB values 0 to 255, ``[..., 3]``."""
    value = np.asarray(rgb, dtype=np.float64) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _TO_XYZ.T / _WHITE
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def ring_of(image: Image8) -> Image8:
    """The outermost pixels ``[N, 3]``."""
    inner = np.zeros(image.shape[:2], dtype=bool)
    inner[RING:-RING, RING:-RING] = True
    return image[~inner]


def background_of(image: Image8) -> str:
    """Name of the background's colour in a uint8 RGB image."""
    median = to_lab(np.median(ring_of(image), axis=0))
    palette = to_lab(list(BACKGROUNDS.values()))
    nearest = int(np.linalg.norm(palette - median, axis=-1).argmin())
    return list(BACKGROUNDS)[nearest]
