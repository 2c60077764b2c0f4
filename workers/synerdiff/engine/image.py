"""From the decoder's image to the pixels of an event."""

from __future__ import annotations

import torch
from torch import Tensor


def pixel_rows(image: Tensor, *, as_float: bool = False) -> Tensor:
    """Turn ``[3, H, W]`` float32 in [0, 1] into ``[H, W, 3]`` uint8, rounded as diffusers' image processor does.

    ``as_float`` keeps float32 instead, to compare images more finely than pixels allow.
    """
    rows = image.permute(1, 2, 0)
    if not as_float:
        rows = (rows * 255).round().to(torch.uint8)
    return rows.contiguous()
