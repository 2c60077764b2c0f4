"""Straight lines through the measured sizes: what one more worker or open job costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Line:
    """``y = base + slope * x``, by least squares."""

    base: float
    slope: float

    def at(self, x: float) -> float:
        """The line's value."""
        return self.base + self.slope * x


def line(x: Sequence[float], y: Sequence[float]) -> Line:
    """The line of least squares."""
    slope, base = np.polyfit(np.asarray(x, float), np.asarray(y, float), 1)
    return Line(float(base), float(slope))


def by_workers(document: dict[str, Any]) -> list[dict[str, float]]:
    """The sizes that differ in workers alone."""
    sizes: list[dict[str, float]] = document["sizes"]
    return [row for row in sizes if row["open_jobs"] == sizes[0]["open_jobs"]]


def by_jobs(document: dict[str, Any]) -> list[dict[str, float]]:
    """The sizes that differ in open jobs alone."""
    sizes: list[dict[str, float]] = document["sizes"]
    return [row for row in sizes if row["workers"] == sizes[-1]["workers"]]


def fits(document: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The lines of the document, by what they are of."""
    workers, jobs = by_workers(document), by_jobs(document)
    found = {}
    for value in ("tick_client_cpu_s", "tick_server_cpu_s", "tick_commands"):
        found[f"{value} by workers"] = line([r["workers"] for r in workers], [r[value] for r in workers])
    for value in ("tick_client_cpu_s", "tick_server_cpu_s", "claim_client_cpu_s", "claim_server_cpu_s"):
        found[f"{value} by open jobs"] = line([r["open_jobs"] for r in jobs], [r[value] for r in jobs])
    return {name: asdict(fit) for name, fit in found.items()}
