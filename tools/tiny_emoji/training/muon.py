"""Muon: momentum with orthogonalised updates for convolutions and matrices, Adam for everything else.

After Keller Jordan's Muon (https://kellerjordan.github.io/posts/muon/): at this size it needs several times fewer steps
than Adam. Tensors of one shape are orthogonalised in one batch, on the small side's Gram matrix, which is cheap for
wide convolutions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_SMALLEST_SIDE = 8
_NOT_MATRICES = ("embedding", "conv_in")
_OUTPUTS = ("decoder.conv_out.weight", "unet.conv_out.weight")


def is_matrix(name: str, weight: Tensor) -> bool:
    """Whether Muon updates a weight: 2 dimensions or more of at least 8, and no embedding, first or last layer."""
    if weight.ndim < 2 or min(weight.shape[0], weight[0].numel()) < _SMALLEST_SIDE:
        return False
    return not any(part in name for part in _NOT_MATRICES) and not name.endswith(_OUTPUTS)


def orthogonalised(matrices: Tensor) -> Tensor:
    """Approximate polar factors of ``[batch, rows, columns]`` by Newton-Schulz iterations."""
    tall = matrices.shape[1] > matrices.shape[2]
    wide = matrices.mT if tall else matrices
    wide = wide / (wide.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    gram = wide @ wide.mT
    identity = torch.eye(gram.shape[1])
    a, b, c = _COEFFICIENTS
    total = identity.expand_as(gram)
    for _ in range(_ITERATIONS):
        factor = a * identity + (b * gram + c * (gram @ gram))
        total = factor @ total
        gram = factor @ gram @ factor
    result: Tensor = total @ wide
    return result.mT if tall else result


@dataclass(frozen=True, slots=True)
class Rates:
    """Base rates: Muon's, Adam's (a tenth of it), Muon's decoupled weight decay; and the moments' decays."""

    rate: float
    weight_decay: float = 0.0
    momentum: float = 0.95
    betas: tuple[float, float] = (0.9, 0.99)


class Muon:
    """Updates the weights it is given, in place; first and second moments live in the tensors it is given.

    ``weights``, ``first`` and ``second`` have the same names; ``second`` is used for Adam's weights alone.
    """

    def __init__(
        self, weights: Mapping[str, Tensor], first: Mapping[str, Tensor], second: Mapping[str, Tensor], rates: Rates
    ) -> None:
        self._weights, self._first, self._second, self._rates = weights, first, second, rates
        self._plain = [name for name, weight in weights.items() if not is_matrix(name, weight)]
        self._shapes: dict[tuple[int, int], list[str]] = {}
        for name, weight in weights.items():
            if is_matrix(name, weight):
                self._shapes.setdefault((weight.shape[0], weight[0].numel()), []).append(name)

    @torch.no_grad()
    def step(self, gradients: Mapping[str, Tensor], factor: float, number: int) -> None:
        """Update with rates scaled by ``factor``; ``number`` counts steps from 1."""
        for shape, names in self._shapes.items():
            self._step_matrices(shape, names, gradients, factor * self._rates.rate)
        for name in self._plain:
            self._step_plain(name, gradients[name], factor * self._rates.rate / 10, number)

    def _step_matrices(
        self, shape: tuple[int, int], names: list[str], gradients: Mapping[str, Tensor], rate: float
    ) -> None:
        rows, columns = shape
        weights, moments = [self._weights[name] for name in names], [self._first[name] for name in names]
        fresh = [gradients[name] for name in names]
        torch._foreach_lerp_(moments, fresh, 1 - self._rates.momentum)
        ahead = [new.lerp(old, self._rates.momentum).flatten(1) for new, old in zip(fresh, moments, strict=True)]
        updates = orthogonalised(torch.stack(ahead)) * (max(1.0, rows / columns) ** 0.5 * 0.5)
        torch._foreach_mul_(weights, 1 - rate * self._rates.weight_decay)
        shaped = [update.view_as(weight) for update, weight in zip(updates, weights, strict=True)]
        torch._foreach_add_(weights, shaped, alpha=-rate)

    def _step_plain(self, name: str, gradient: Tensor, rate: float, number: int) -> None:
        first, second = self._first[name], self._second[name]
        beta1, beta2 = self._rates.betas
        first.lerp_(gradient, 1 - beta1)
        second.lerp_(gradient.square(), 1 - beta2)
        scale = (second / (1 - beta2**number)).sqrt_().add_(1e-8)
        self._weights[name].addcdiv_(first / (1 - beta1**number), scale, value=-rate)
