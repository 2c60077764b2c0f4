"""What one operation of a decoder is: the smallest piece that runs exactly as diffusers runs it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

ELEMENT_COST = 110.0
"""What normalising and activating one element costs in multiply-accumulates (measured on a CPU with AVX2: 7 ns against
0.063 ns). It only shapes the cuts, so its exact value does not matter."""


@dataclass(slots=True)
class DecodeState:
    """What a decode holds between two chunks.

    Attributes:
        x: the current operation's input, ``[1, C, H, W]``.
        y: the inner activation of a residual block, between its two halves.
        out: the rows that the strips of the current operation have finished, in a tensor of the final shape.
        extra: what else the strips of one operation share (statistics of the norm; queries, keys and values).
    """

    x: Tensor
    y: Tensor | None = None
    out: Tensor | None = None
    extra: tuple[Tensor, ...] = field(default=())

    @property
    def held_bytes(self) -> int:
        """Bytes of device memory held; ``out`` may be ``x`` itself and counts once."""
        tensors = {id(t): t for t in (self.x, self.y, self.out, *self.extra) if t is not None}
        return sum(size_of(t) for t in tensors.values())


def size_of(tensor: Tensor) -> int:
    """Bytes of a tensor's elements."""
    return tensor.numel() * tensor.element_size()


class Operation(Protocol):
    """One step of a decoder, at a fixed input size.

    ``strip`` takes rows ``[start, stop)`` of the input, in order and without gaps; the first one (``start == 0``)
    prepares what all share, the last one leaves the operation's output in ``state.x``.
    """

    @property
    def name(self) -> str:
        """Where it is in the decoder, such as ``up.2.resnet.0.conv1``."""

    @property
    def rows(self) -> int:
        """Input rows: what strips are cut from."""

    @property
    def cost(self) -> float:
        """Estimated cost in multiply-accumulates."""

    @property
    def held(self) -> int:
        """Most elements held between two of its strips."""

    @property
    def divisible(self) -> bool:
        """Whether it can run in strips."""

    def whole(self, state: DecodeState) -> None:
        """Run all of it, with the very calls that diffusers makes."""

    def strip(self, state: DecodeState, start: int, stop: int) -> None:
        """Run rows ``[start, stop)`` of it."""
