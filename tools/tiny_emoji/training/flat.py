"""Weights as one flat tensor, so that processes can share them, their average and their moments cheaply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Self

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each named tensor lies in a flat one."""

    shapes: Mapping[str, torch.Size]

    @classmethod
    def of(cls, modules: Mapping[str, nn.Module]) -> Self:
        """The trained parameters of all modules, named ``module.parameter``."""
        return cls({name: weight.shape for name, weight in trained(modules).items()})

    @property
    def size(self) -> int:
        """Length of the flat tensor."""
        return sum(shape.numel() for shape in self.shapes.values())

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Named views into a flat tensor."""
        sizes = [shape.numel() for shape in self.shapes.values()]
        starts = [0, *accumulate(sizes)]
        return {
            name: flat[start : start + size].view(shape)
            for (name, shape), start, size in zip(self.shapes.items(), starts, sizes, strict=False)
        }

    def shares(self, count: int) -> list[list[str]]:
        """Deal the names to ``count`` owners so that each owns about as many values."""
        owned: list[list[str]] = [[] for _ in range(count)]
        load = [0] * count
        for name in sorted(self.shapes, key=lambda name: -self.shapes[name].numel()):
            owner = load.index(min(load))
            owned[owner].append(name)
            load[owner] += self.shapes[name].numel()
        return owned


def trained(modules: Mapping[str, nn.Module]) -> dict[str, nn.Parameter]:
    """Parameters that take a gradient, by ``module.parameter``."""
    return {
        f"{prefix}.{name}": parameter
        for prefix, module in modules.items()
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }


def attach(modules: Mapping[str, nn.Module], views: Mapping[str, Tensor]) -> None:
    """Have the modules' trained parameters live in the views."""
    for name, parameter in trained(modules).items():
        parameter.data = views[name]


def load(views: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Copy named values into views. Raises :class:`ValueError` naming what is missing."""
    if missing := sorted(set(views) - set(values)):
        raise ValueError(f"the checkpoint lacks {len(missing)} of {len(views)} weights, first of them {missing[0]}")
    for name, view in views.items():
        view.copy_(values[name])
