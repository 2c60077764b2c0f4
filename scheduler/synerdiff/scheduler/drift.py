"""Whether a profile still tells the truth: predicted slot times against the ones that workers report."""

from __future__ import annotations

import math
from collections.abc import Mapping

from synerdiff.policy.cost import CostModel

WEIGHT = 0.1
ENOUGH = 10
PARTED = 0.25


class Drift:
    """A moving mean of measured over predicted slot time, on a log scale, for one profile.

    A wrong profile costs more than a wrong rule, so past 25% either way a new one is asked for. A slot counts once;
    one without a prediction of its own counts if the UNet ran alone, for then the profile predicts it.
    """

    def __init__(self, cost: CostModel) -> None:
        self._cost = cost
        self._mean = 0.0
        self._slots = 0
        self._last: dict[str, tuple[float, ...]] = {}

    @property
    def ratio(self) -> float:
        """Measured over predicted; 1 while too little is known."""
        return math.exp(self._mean) if self._slots >= ENOUGH else 1.0

    @property
    def parted(self) -> bool:
        """Whether the profile should be measured again."""
        return abs(self._mean) > math.log1p(PARTED) and self._slots >= ENOUGH

    def take(self, worker: str, slot: Mapping[str, float | int | str]) -> None:
        """Count a worker's last slot report, if it is a new one that can be judged."""
        figures = tuple(_number(slot, name) for name in ("predicted_s", "measured_s", "rows", "chunks"))
        if figures == self._last.get(worker):
            return
        self._last[worker] = figures
        predicted, measured, rows, chunks = figures
        if not predicted and rows >= 1 and not chunks:
            predicted = float(self._cost.unet(rows))
        if predicted <= 0.0 or measured <= 0.0:
            return
        self._slots += 1
        weight = max(WEIGHT, 1.0 / self._slots)
        self._mean += weight * (math.log(measured / predicted) - self._mean)

    def forget(self, alive: set[str]) -> None:
        """Drop what is kept of workers that are gone."""
        self._last = {worker: figures for worker, figures in self._last.items() if worker in alive}


def _number(slot: Mapping[str, float | int | str], name: str) -> float:
    value = slot.get(name, 0.0)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0
