"""How a decode's convolutions are run: as diffusers runs them, or packed, which is faster and equal up to rounding."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from synerdiff.engine.lean_blocks import LeanUpsample
from synerdiff.engine.packing import packed_layer, worth_packing


class Kernels:
    """The very calls that diffusers makes."""

    def conv(self, conv: nn.Module, x: Tensor) -> Tensor:
        """A convolution of a whole image ``[1, C, H, W]``."""
        result: Tensor = conv(x)
        return result

    def upsample(self, module: Any, x: Tensor) -> Tensor:
        """An ``Upsample2D`` with a plain convolution."""
        result: Tensor = module(x)
        return result


PLAIN = Kernels()


class PackedKernels(Kernels):
    """Weights laid out once as oneDNN wants them, 1x1 convolutions as linear layers, upsampling in one convolution.

    It holds for the weights as they are laid out when each is first run.
    """

    def __init__(self) -> None:
        self._known: dict[nn.Module, Any] = {}

    def forget(self) -> None:
        """Begin anew, after a change of layout."""
        self._known.clear()

    def conv(self, conv: nn.Module, x: Tensor) -> Tensor:
        """As :meth:`Kernels.conv`, within rounding."""
        if conv not in self._known:
            self._known[conv] = _packed(conv)
        result: Tensor = self._known[conv](x)
        return result

    def upsample(self, module: Any, x: Tensor) -> Tensor:
        """As :meth:`Kernels.upsample`, within rounding."""
        if module not in self._known:
            lean = LeanUpsample(module)
            lean.taps = packed_layer(lean.taps, loose=True)
            self._known[module] = lean
        result: Tensor = self._known[module](x, (2 * x.shape[2], 2 * x.shape[3]))
        return result


def _packed(conv: nn.Module) -> Any:
    if not isinstance(conv, nn.Conv2d):
        return conv
    if (conv.kernel_size, conv.stride, conv.padding, conv.groups) == ((1, 1), (1, 1), (0, 0), 1):
        return _pointwise(conv)
    return packed_layer(conv, loose=True) if worth_packing(conv) else conv


def _pointwise(conv: nn.Conv2d) -> Any:
    weight, bias = conv.weight.flatten(1), conv.bias
    return lambda x: F.linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)
