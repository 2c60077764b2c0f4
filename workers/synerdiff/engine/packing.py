"""The engine's own copy of a UNet on the CPU: same weights, laid out once as oneDNN's kernels want them.

PyTorch lays a convolution's weights out anew at every call, which is most of the fixed cost of a small one. Packed, the
same kernel runs on the same layout, so the results are equal bit for bit to the UNet's own in channels-last.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from synerdiff.engine.precision import onednn_takes_bfloat16

MAX_PARAMETERS = 200_000_000
"""Packed weights are held beside the plain ones, so models that are big for a CPU go without."""


KEPT = 4
ROWS = 8


class Packed(nn.Module, ABC):
    """A convolution with packed weights.

    A batch of one goes the plain way, where PyTorch takes another kernel, unless it is ``loose`` about the last bits.
    The best layout depends on the size of the input, so there is one for each of the last ``KEPT`` sizes.
    """

    def __init__(self, plain: Any, *, loose: bool) -> None:
        super().__init__()
        self.plain = plain
        self._least = 1 if loose else 2
        self._place: list[Any] = [list(plain.padding), list(plain.stride), list(plain.dilation), plain.groups]
        self._packed: dict[torch.Size, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """As the plain layer."""
        if x.shape[0] < self._least or not x.is_contiguous(memory_format=torch.channels_last):
            return self.plain(x)  # type: ignore[no-any-return]
        weight = self._packed.get(x.shape[2:])
        if weight is None:
            if len(self._packed) >= KEPT:
                self._packed.pop(next(iter(self._packed)))
            like = [ROWS, self.plain.in_channels, *x.shape[2:]]
            self._packed[x.shape[2:]] = weight = self._pack(self.plain.weight.detach(), like)
        return self._run(x, weight)

    @abstractmethod
    def _pack(self, weight: Tensor, like: list[int]) -> Tensor:
        """The weights as oneDNN wants them for inputs of the shape ``like``."""

    @abstractmethod
    def _run(self, x: Tensor, weight: Tensor) -> Tensor:
        """The layer with packed weights."""


class PackedConv2d(Packed):
    """A packed :class:`torch.nn.Conv2d`."""

    def _pack(self, weight: Tensor, like: list[int]) -> Tensor:
        reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight
        return reorder(weight.to_mkldnn(), *self._place, like)  # type: ignore[no-any-return]

    def _run(self, x: Tensor, weight: Tensor) -> Tensor:
        output: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, weight, self.plain.bias, *self._place, "none", [], ""
        )
        return output


class PackedConvTranspose2d(Packed):
    """A packed :class:`torch.nn.ConvTranspose2d`."""

    def __init__(self, plain: nn.ConvTranspose2d, *, loose: bool) -> None:
        super().__init__(plain, loose=loose)
        self._place.insert(1, list(plain.output_padding))

    def _pack(self, weight: Tensor, like: list[int]) -> Tensor:
        output: Tensor = torch.ops.mkldnn._reorder_convolution_transpose_weight(weight, *self._place, like)
        return output

    def _run(self, x: Tensor, weight: Tensor) -> Tensor:
        output: Tensor = torch.ops.mkldnn._convolution_transpose_pointwise(
            x, weight, self.plain.bias, *self._place, "none", [], ""
        )
        return output


def packed_layer(layer: nn.Module, *, loose: bool) -> Packed:
    """A convolution of either kind, packed."""
    kind = PackedConvTranspose2d if isinstance(layer, nn.ConvTranspose2d) else PackedConv2d
    return kind(layer, loose=loose)  # type: ignore[arg-type]


def packable(unet: nn.Module) -> bool:
    """Whether packing keeps the results: float32 or bfloat16 on the CPU, in channels-last, through oneDNN."""
    kernels = [module.weight for module in unet.modules() if worth_packing(module)]
    first = next(unet.parameters(), None)
    if first is None or first.device.type != "cpu" or not kernels or not _taken(first.dtype):
        return False
    last = all(weight.is_contiguous(memory_format=torch.channels_last) for weight in kernels)
    return last and sum(parameter.numel() for parameter in unet.parameters()) <= MAX_PARAMETERS


def _taken(dtype: torch.dtype) -> bool:
    """Whether oneDNN runs convolutions of this kind here."""
    if dtype == torch.bfloat16:
        return onednn_takes_bfloat16()
    return dtype == torch.float32 and torch.backends.mkldnn.is_available()


def packed(unet: nn.Module, *, loose: str | None = None) -> nn.Module:
    """A copy of a UNet that shares its parameters and runs its larger convolutions packed.

    The results below its child ``loose`` may differ by rounding.
    """
    shared = {id(tensor): tensor for tensor in (*unet.parameters(), *unet.buffers())}
    twin = copy.deepcopy(unet, dict[int, Any](shared))
    rounded = set(twin.get_submodule(loose).modules()) if loose else set()
    for module in list(twin.modules()):
        for name, child in list(module.named_children()):
            if worth_packing(child):
                setattr(module, name, packed_layer(child, loose=module in rounded))
    return twin


def worth_packing(layer: nn.Module) -> TypeGuard[nn.Conv2d | nn.ConvTranspose2d]:
    """Whether it is a convolution for which PyTorch spends much on laying out the weights."""
    if isinstance(layer, nn.ConvTranspose2d):
        return True
    return isinstance(layer, nn.Conv2d) and layer.kernel_size in ((2, 2), (3, 3)) and layer.padding_mode == "zeros"
