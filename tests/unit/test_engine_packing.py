"""Packed convolutions: the same numbers to the last bit, and no weights of their own to fall behind."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from synerdiff.engine.packing import packable, packed


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 32, 3, padding=1)
        self.inner = nn.Sequential(nn.SiLU(), nn.Conv2d(32, 48, 3, padding=1, stride=2), nn.Conv2d(48, 16, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.inner(self.first(x))
        return result


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return Net().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("rows", [1, 2, 5, 12])
@pytest.mark.parametrize("side", [8, 16])
def test_packed_equals_plain_bit_for_bit(net: nn.Module, rows: int, side: int) -> None:
    twin = packed(net)
    x = torch.randn(rows, 4, side, side)
    with torch.inference_mode():
        assert torch.equal(twin(x), net(x))
        assert torch.equal(twin(x), net(x))


def test_the_copy_shares_its_parameters(net: nn.Module) -> None:
    assert {id(p) for p in packed(net).parameters()} == {id(p) for p in net.parameters()}


def test_only_what_keeps_the_results_is_packed(net: nn.Module) -> None:
    assert packable(net)
    assert not packable(copy.deepcopy(net).half())
    assert not packable(copy.deepcopy(net).to(memory_format=torch.contiguous_format))  # type: ignore[call-overload]
    assert not packable(nn.Linear(2, 2))
