"""Whether a profile still tells the truth: predicted slot times against the ones that workers report."""

from __future__ import annotations

import math
from collections.abc import Mapping

WEIGHT = 0.1
ENOUGH = 30
PARTED = 0.25
AGREED = 0.15

Slot = Mapping[str, float | int | str]


class Drift:
    """A moving mean of measured over predicted slot time, on a log scale, for one profile.

    A wrong profile costs more than a wrong rule, so past 25% either way a new one is asked for. A shared machine is
    noisy: one tick counts as one reading however many slots it had, a reading counts for a factor of two at most, the
    mean must stay out for 30 readings, and the asking ends only once it is back within 15%.
    """

    def __init__(self) -> None:
        self._mean = 0.0
        self._readings = 0
        self._out = 0
        self._parted = False
        self._totals: dict[str, tuple[float, float]] = {}

    @property
    def ratio(self) -> float:
        """Measured over predicted; 1 while too little is known."""
        return math.exp(self._mean) if self._readings >= ENOUGH else 1.0

    @property
    def parted(self) -> bool:
        """Whether the profile should be measured again."""
        return self._parted

    def take(self, slots: Mapping[str, Slot]) -> None:
        """Take in the reports of a tick by worker: what their slots should have taken in all, and took."""
        predicted = measured = 0.0
        for worker, slot in slots.items():
            totals = (_number(slot, "predicted_total_s"), _number(slot, "measured_total_s"))
            before = self._totals.get(worker, totals)
            if totals[0] > before[0] and totals[1] > before[1]:  # an engine that was started again counts from 0
                predicted += totals[0] - before[0]
                measured += totals[1] - before[1]
            self._totals[worker] = totals
        self._totals = {worker: totals for worker, totals in self._totals.items() if worker in slots}
        if predicted > 0.0:
            self._read(math.log(measured / predicted))

    def _read(self, log_ratio: float) -> None:
        self._readings += 1
        bounded = min(max(log_ratio, -math.log(2.0)), math.log(2.0))
        self._mean += max(WEIGHT, 1.0 / self._readings) * (bounded - self._mean)
        self._out = self._out + 1 if abs(self._mean) > math.log1p(PARTED) else 0
        self._parted = self._out >= ENOUGH or (self._parted and abs(self._mean) > math.log1p(AGREED))


def _number(slot: Slot, name: str) -> float:
    value = slot.get(name, 0.0)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0
