"""The first and the last operation of a decoder."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from .conv import has_unit_halo, macs
from .kernels import Kernels
from .norm import statistics
from .operation import ELEMENT_COST, DecodeState
from .resnet import activated, activated_conv_rows, empty


@dataclass(frozen=True, slots=True)
class ConvIn:
    """``x = conv_in(post_quant_conv(latents))``; some VAEs have no post_quant_conv."""

    name: str
    kernels: Kernels
    post_quant_conv: nn.Conv2d | None
    conv: nn.Conv2d
    rows: int
    width: int
    divisible: bool = False

    @property
    def cost(self) -> float:
        """Estimated cost in multiply-accumulates."""
        return macs(self.conv, self.rows, self.width)

    @property
    def held(self) -> int:
        """Elements held before it: the latents."""
        return self.conv.in_channels * self.rows * self.width

    def whole(self, state: DecodeState) -> None:
        """Run all of it."""
        latents = state.x if self.post_quant_conv is None else self.kernels.conv(self.post_quant_conv, state.x)
        state.x = self.kernels.conv(self.conv, latents)

    def strip(self, state: DecodeState, start: int, stop: int) -> None:
        """Never called: latents are small."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Output:
    """``x = conv_out(act(norm(x)))``: the image, in [-1, 1]."""

    name: str
    kernels: Kernels
    norm: nn.GroupNorm
    act: nn.Module
    conv: nn.Conv2d
    rows: int
    width: int

    @property
    def cost(self) -> float:
        """Estimated cost in multiply-accumulates."""
        elements = self.conv.in_channels * self.rows * self.width
        return macs(self.conv, self.rows, self.width) + ELEMENT_COST * elements

    @property
    def held(self) -> int:
        """Most elements held between two strips: x, the image and statistics."""
        image = (self.conv.in_channels + self.conv.out_channels) * self.rows * self.width
        return image + 2 * self.conv.in_channels

    @property
    def divisible(self) -> bool:
        """Whether it can run in strips."""
        return isinstance(self.norm, nn.GroupNorm) and has_unit_halo(self.conv)

    def whole(self, state: DecodeState) -> None:
        """Run all of it."""
        state.x = self.kernels.conv(self.conv, activated(self.norm(state.x), self.act))

    def strip(self, state: DecodeState, start: int, stop: int) -> None:
        """Run rows ``[start, stop)`` of it."""
        if start == 0:
            state.extra = statistics(state.x, self.norm)
            state.out = empty(state.x, self.conv.out_channels)
        assert state.out is not None
        state.out[:, :, start:stop] = activated_conv_rows(
            state.x, start, stop, self.norm, self.act, self.conv, state.extra
        )
        if stop == self.rows:
            state.x, state.out, state.extra = state.out, None, ()
