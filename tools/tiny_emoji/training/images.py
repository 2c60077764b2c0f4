"""Between uint8 images and what the VAE takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tools.tiny_emoji.scenes.colours import Image8


def to_batch(images: Sequence[Image8]) -> Tensor:
    """Float ``[N, 3, H, W]`` in [-1, 1]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def to_images(batch: Tensor) -> Image8:
    """uint8 ``[N, H, W, 3]``, clipped."""
    pixels: Image8 = batch.add(1).mul(127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return pixels
