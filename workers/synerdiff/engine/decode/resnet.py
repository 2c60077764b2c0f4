"""A residual block in two halves: norm, activation, convolution; then the same again and the shortcut."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from .conv import conv_rows, has_unit_halo, macs, with_halo
from .kernels import Kernels
from .norm import normalise, statistics
from .operation import ELEMENT_COST, DecodeState


def is_plain(block: nn.Module) -> bool:
    """Whether a block is the one AutoencoderKL is made of: no time embedding, no resampling inside."""
    return (
        isinstance(block, ResnetBlock2D)
        and block.time_emb_proj is None
        and block.time_embedding_norm != "scale_shift"
        and block.upsample is None
        and block.downsample is None
    )


def activated_conv_rows(
    x: Tensor, start: int, stop: int, norm: nn.GroupNorm, act: nn.Module, conv: nn.Conv2d, stats: tuple[Tensor, ...]
) -> Tensor:
    """Return rows ``[start, stop)`` of ``conv(act(norm(x)))``, given the norm's global statistics."""
    low, high = with_halo(start, stop, x.shape[2])
    rows = normalise(x[:, :, low:high], norm, stats[0], stats[1])
    return conv_rows(conv, activated(rows, act), at_top=start == 0, at_bottom=stop == x.shape[2])


def activated(fresh: Tensor, act: nn.Module) -> Tensor:
    """``act`` of a tensor that nobody else reads: in place where that gives the same bits."""
    if isinstance(act, nn.SiLU):
        return F.silu(fresh, inplace=True)
    result: Tensor = act(fresh)
    return result


@dataclass(frozen=True, slots=True)
class ResnetHead:
    """``y = conv1(act(norm1(x)))``."""

    name: str
    kernels: Kernels
    block: ResnetBlock2D
    rows: int
    width: int

    @property
    def cost(self) -> float:
        """Estimated cost in multiply-accumulates."""
        elements = self.block.in_channels * self.rows * self.width
        return macs(self.block.conv1, self.rows, self.width) + ELEMENT_COST * elements

    @property
    def held(self) -> int:
        """Most elements held between two strips: x and y, and statistics."""
        image = (self.block.in_channels + self.block.out_channels) * self.rows * self.width
        return image + 2 * self.block.in_channels

    @property
    def divisible(self) -> bool:
        """Whether it can run in strips."""
        return has_unit_halo(self.block.conv1)

    def whole(self, state: DecodeState) -> None:
        """Run all of it."""
        inner = activated(self.block.norm1(state.x), self.block.nonlinearity)
        state.y = self.kernels.conv(self.block.conv1, inner)

    def strip(self, state: DecodeState, start: int, stop: int) -> None:
        """Run rows ``[start, stop)`` of it."""
        block, x = self.block, state.x
        if start == 0:
            state.extra = statistics(x, block.norm1)
            state.y = empty(x, block.out_channels)
        assert state.y is not None
        state.y[:, :, start:stop] = activated_conv_rows(
            x, start, stop, block.norm1, block.nonlinearity, block.conv1, state.extra
        )
        if stop == self.rows:
            state.extra = ()


@dataclass(frozen=True, slots=True)
class ResnetTail:
    """``x = (shortcut(x) + conv2(act(norm2(y)))) / scale``."""

    name: str
    kernels: Kernels
    block: ResnetBlock2D
    rows: int
    width: int

    @property
    def cost(self) -> float:
        """Estimated cost in multiply-accumulates."""
        shortcut = self.block.conv_shortcut
        elements = self.block.out_channels * self.rows * self.width
        inner = macs(self.block.conv2, self.rows, self.width) + ELEMENT_COST * elements
        return inner + (macs(shortcut, self.rows, self.width) if shortcut is not None else 0.0)

    @property
    def held(self) -> int:
        """Most elements held between two strips: x, y, and the output where it cannot overwrite x."""
        outputs = 1 if self.block.conv_shortcut is None else 2
        image = (self.block.in_channels + outputs * self.block.out_channels) * self.rows * self.width
        return image + 2 * self.block.out_channels

    @property
    def divisible(self) -> bool:
        """Whether it can run in strips."""
        return has_unit_halo(self.block.conv2)

    def whole(self, state: DecodeState) -> None:
        """Run all of it."""
        block, x = self.block, state.x
        hidden = self.kernels.conv(block.conv2, activated(block.norm2(state.y), block.nonlinearity))
        if block.conv_shortcut is not None:
            x = self.kernels.conv(block.conv_shortcut, x)
        # in place only where the sum's memory format stays the same: it decides which kernels come next
        state.x, state.y = hidden.add_(x) if hidden.stride() == x.stride() else x + hidden, None
        if block.output_scale_factor != 1.0:
            state.x /= block.output_scale_factor

    def strip(self, state: DecodeState, start: int, stop: int) -> None:
        """Run rows ``[start, stop)`` of it; without a shortcut convolution they overwrite those of x."""
        block, x, y = self.block, state.x, state.y
        assert y is not None
        if start == 0:
            state.extra = statistics(y, block.norm2)
            state.out = x if block.conv_shortcut is None else empty(x, block.out_channels)
        assert state.out is not None
        hidden = activated_conv_rows(y, start, stop, block.norm2, block.nonlinearity, block.conv2, state.extra)
        rows = x[:, :, start:stop]
        rows = rows if block.conv_shortcut is None else block.conv_shortcut(rows)
        finished = state.out[:, :, start:stop]
        torch.add(rows, hidden, out=finished)
        if block.output_scale_factor != 1.0:
            finished /= block.output_scale_factor
        if stop == self.rows:
            state.x, state.y, state.out, state.extra = state.out, None, None, ()


def empty(like: Tensor, channels: int, scale: int = 1) -> Tensor:
    """Return an uninitialised ``[1, channels, scale * H, scale * W]`` in the memory format of ``like``."""
    shape = (1, channels, scale * like.shape[2], scale * like.shape[3])
    channels_last = like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous()
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout)
