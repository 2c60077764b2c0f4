"""Nearest-neighbour upsampling by two with its convolution."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from diffusers.models.upsampling import Upsample2D
from torch import nn

from .conv import conv_rows, has_unit_halo, macs, with_halo
from .kernels import Kernels
from .operation import DecodeState
from .resnet import empty


def is_plain(module: nn.Module) -> bool:
    """Whether it is interpolation and one convolution, with no norm."""
    return (
        isinstance(module, Upsample2D)
        and module.use_conv
        and module.interpolate
        and not module.use_conv_transpose
        and module.norm is None
        and module.name == "conv"
        and has_unit_halo(module.conv)
    )


@dataclass(frozen=True, slots=True)
class Upsample:
    """``x = conv(nearest2x(x))``; its strips are cut from input rows."""

    name: str
    kernels: Kernels
    module: Upsample2D
    conv: nn.Conv2d
    rows: int
    width: int
    divisible: bool = True

    @property
    def cost(self) -> float:
        """Estimated cost in multiply-accumulates."""
        return macs(self.conv, 2 * self.rows, 2 * self.width)

    @property
    def held(self) -> int:
        """Most elements held between two strips: x and the output, four times as large."""
        return (self.module.channels + 4 * self.module.out_channels) * self.rows * self.width

    def whole(self, state: DecodeState) -> None:
        """Run all of it."""
        state.x = self.kernels.upsample(self.module, state.x)

    def strip(self, state: DecodeState, start: int, stop: int) -> None:
        """Run input rows ``[start, stop)`` of it: twice as many output rows."""
        x = state.x
        if start == 0:
            state.out = empty(x, self.module.out_channels, scale=2)
        assert state.out is not None
        low, high = with_halo(start, stop, self.rows)
        doubled = F.interpolate(x[:, :, low:high], scale_factor=2.0, mode="nearest")
        # A halo row doubles into two, of which the convolution needs the nearer one.
        first, last = 2 * (start - low) - int(low < start), doubled.shape[2] - int(high > stop)
        state.out[:, :, 2 * start : 2 * stop] = conv_rows(
            self.conv, doubled[:, :, first:last], at_top=start == 0, at_bottom=stop == self.rows
        )
        if stop == self.rows:
            state.x, state.out = state.out, None
