"""LinearAG, the linear variant of Adaptive Guidance (arXiv 2312.12487), for comparison.

A skipped step's unconditional prediction is a linear function of the conditional ones so far and of the
unconditional ones before it (predicted ones included), with scalar coefficients per step fitted by least squares
to full runs. The history is cut to the last two steps here; the paper regresses on all of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from synerdiff.engine.calibration import Calibration
from synerdiff.engine.fidelity_run import Criterion, Scenario, Studio
from synerdiff.engine.guidance import Guidance, GuidanceState

_HISTORY = 2
_RIDGE = 1e-6


class _Recorder(Guidance):
    """Full guidance that keeps what both passes put out at each step."""

    def __init__(self, prediction: str) -> None:
        super().__init__(Calibration(classes={}), prediction)
        self.cond: list[Tensor] = []
        self.uncond: list[Tensor] = []

    def combine(self, cond: Tensor, uncond: Tensor, states: Sequence[GuidanceState], ran: Sequence[bool]) -> Tensor:
        """As :meth:`Guidance.combine`, with every row run or none."""
        if states[0].step == 0:
            self.cond, self.uncond = [], []
        self.cond.append(cond)
        guided = super().combine(cond, uncond, states, ran)
        if all(ran):
            self.uncond.append(uncond)
        return guided


class _Linear(_Recorder):
    """Predicts the unconditional pass by ``coefficients`` (one tensor a step)."""

    def __init__(self, prediction: str, coefficients: Sequence[Tensor]) -> None:
        super().__init__(prediction)
        self._coefficients = coefficients

    def predict(self, cond: Tensor, states: Sequence[GuidanceState]) -> Tensor:
        """The difference to the regressed unconditional prediction."""
        step = states[0].step
        terms = _features(self.cond, self.uncond, step)
        uncond: Tensor = torch.einsum("k,k...->...", self._coefficients[step].to(cond.dtype), torch.stack(terms))
        self.uncond.append(uncond)
        return cond - uncond


def _features(cond: Sequence[Tensor], uncond: Sequence[Tensor], step: int) -> list[Tensor]:
    first = max(0, step - _HISTORY)
    return [*cond[first : step + 1], *uncond[first:step]]


def _fit(record: _Recorder, step: int) -> Tensor:
    columns = torch.stack([term.flatten() for term in _features(record.cond, record.uncond, step)], dim=1).double()
    normal = columns.T @ columns
    ridge = _RIDGE * normal.diagonal().mean() * torch.eye(len(normal), dtype=normal.dtype)
    solution: Tensor = torch.linalg.solve(normal + ridge, columns.T @ record.uncond[step].flatten().double())
    return solution


class LinearAg:
    """Fits to a scenario on a studio's prompts; the criteria are for studies of the same sampler and steps."""

    def __init__(self, studio: Studio, scenario: Scenario) -> None:
        self._prediction = studio.model.tables.prediction
        record = _Recorder(self._prediction)
        studio.make(scenario, Criterion("", "", record, lambda state: False, "exact"))
        self._coefficients = [_fit(record, step) for step in range(len(record.cond))]

    def criterion(self, full_until: float) -> Criterion:
        """Every other step predicted up to the share ``full_until`` of the steps, and all of them after it."""

        def skips(state: GuidanceState) -> bool:
            return state.step % 2 == 1 or state.step >= full_until * state.path.steps > 0

        guidance = _Linear(self._prediction, self._coefficients)
        return Criterion("LinearAG", f"alternate to {full_until:.0%}", guidance, skips)
