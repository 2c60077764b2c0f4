"""The engine's own copy of a UNet on the CPU: same weights, laid out once as oneDNN's kernels want them.

PyTorch lays a convolution's weights out anew at every call, which is most of the fixed cost of a small one. Packed, the
same kernel runs on the same layout, so the results are equal bit for bit to the UNet's own in channels-last.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

MAX_PARAMETERS = 200_000_000
"""Packed weights are held beside the plain ones, so models that are big for a CPU go without."""


KEPT = 4
ROWS = 8


class PackedConv2d(nn.Module):
    """A convolution with packed weights.

    A batch of one goes the plain way, where PyTorch takes another kernel, unless it is ``loose`` about the last bits.
    The best layout depends on the size of the input, so there is one for each of the last ``KEPT`` sizes.
    """

    def __init__(self, conv: nn.Conv2d, *, loose: bool) -> None:
        super().__init__()
        self.plain = conv
        self._least = 1 if loose else 2
        self._place: list[Any] = [list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups]
        self._packed: dict[torch.Size, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """As :class:`torch.nn.Conv2d`."""
        if x.shape[0] < self._least or not x.is_contiguous(memory_format=torch.channels_last):
            return self.plain(x)  # type: ignore[no-any-return]
        weight = self._packed.get(x.shape[2:])
        if weight is None:
            weight = self._pack(x.shape[2:])
        output: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, weight, self.plain.bias, *self._place, "none", [], ""
        )
        return output

    def _pack(self, size: torch.Size) -> Tensor:
        if len(self._packed) >= KEPT:
            self._packed.pop(next(iter(self._packed)))
        weight = self.plain.weight.detach().to_mkldnn()
        like = [ROWS, self.plain.in_channels, *size]
        reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight
        self._packed[size] = reorder(weight, *self._place, like)
        return self._packed[size]


def packable(unet: nn.Module) -> bool:
    """Whether packing keeps the results: float32 on the CPU, in channels-last, through oneDNN."""
    kernels = [module.weight for module in unet.modules() if isinstance(module, nn.Conv2d) and worth_packing(module)]
    first = next(unet.parameters(), None)
    if first is None or first.device.type != "cpu" or first.dtype != torch.float32 or not kernels:
        return False
    if not torch.backends.mkldnn.is_available():
        return False
    last = all(weight.is_contiguous(memory_format=torch.channels_last) for weight in kernels)
    return last and sum(parameter.numel() for parameter in unet.parameters()) <= MAX_PARAMETERS


def packed(unet: nn.Module, *, loose: str | None = None) -> nn.Module:
    """A copy of a UNet that shares its parameters and runs its larger convolutions packed.

    The results below its child ``loose`` may differ by rounding.
    """
    shared = {id(tensor): tensor for tensor in (*unet.parameters(), *unet.buffers())}
    twin = copy.deepcopy(unet, dict[int, Any](shared))
    rounded = set(twin.get_submodule(loose).modules()) if loose else set()
    for module in list(twin.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d) and worth_packing(child):
                setattr(module, name, PackedConv2d(child, loose=module in rounded))
    return twin


def worth_packing(conv: nn.Conv2d) -> bool:
    """Whether PyTorch spends much on laying out a convolution's weights."""
    return conv.kernel_size in ((2, 2), (3, 3)) and conv.padding_mode == "zeros"
