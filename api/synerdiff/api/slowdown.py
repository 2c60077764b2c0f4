"""How much longer slots take than their profile says, from what workers report of predicted and measured time."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from synerdiff.ledger import WorkerReport

ENOUGH_S = 1.0  # predicted seconds that a ratio is taken over
LEAST, MOST = 0.5, 10.0


class Slowdown:
    """Each worker's measured over predicted slot time, lately; 1 where nothing is known."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[float, float]] = {}
        self._ratio: dict[str, float] = {}

    def of(self, reports: Sequence[WorkerReport]) -> float:
        """The median ratio of the workers that report now."""
        for report in reports:
            self._take(report)
        names = {report.name for report in reports}
        self._ratio = {name: ratio for name, ratio in self._ratio.items() if name in names}
        self._since = {name: since for name, since in self._since.items() if name in names}
        return statistics.median(self._ratio.values()) if self._ratio else 1.0

    def _take(self, report: WorkerReport) -> None:
        predicted = float(report.slot.get("predicted_total_s", 0.0))
        measured = float(report.slot.get("measured_total_s", 0.0))
        before = self._since.get(report.name, (0.0, 0.0))
        if predicted - before[0] >= ENOUGH_S:
            self._ratio[report.name] = min(MOST, max(LEAST, (measured - before[1]) / (predicted - before[0])))
            self._since[report.name] = (predicted, measured)
        elif predicted < before[0]:  # its engine was started again
            self._since[report.name] = (predicted, measured)
