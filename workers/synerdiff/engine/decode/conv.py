"""Rows of a 3x3 convolution, exactly: the strip takes one row of its neighbours on each side (the halo)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def has_unit_halo(conv: nn.Module) -> bool:
    """Whether a module is the convolution that strips know: 3x3, stride 1, padding 1, dense."""
    return isinstance(conv, nn.Conv2d) and (
        conv.kernel_size,
        conv.stride,
        conv.padding,
        conv.dilation,
        conv.groups,
        conv.padding_mode,
    ) == ((3, 3), (1, 1), (1, 1), (1, 1), 1, "zeros")


def with_halo(start: int, stop: int, height: int) -> tuple[int, int]:
    """Widen rows ``[start, stop)`` by the halo, as far as the image goes."""
    return max(start - 1, 0), min(stop + 1, height)


def conv_rows(conv: nn.Conv2d, rows: Tensor, at_top: bool, at_bottom: bool) -> Tensor:
    """Convolve rows that carry their halo, ``[1, C, h + 2, W]``; only the image's own edges are padded with zeros."""
    if at_top or at_bottom:
        rows = F.pad(rows, (0, 0, int(at_top), int(at_bottom)))
    return F.conv2d(rows, conv.weight, conv.bias, padding=(0, 1))


def macs(conv: nn.Conv2d, height: int, width: int) -> float:
    """Multiply-accumulates of a convolution with an output of this size."""
    return float(conv.weight.numel() * height * width)
