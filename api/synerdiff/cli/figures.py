"""Figures about finished jobs, from their records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from synerdiff.client import JobView, Timings

PHASES = ("queued", "encode", "denoise", "decode_wait", "decode", "upload", "total")


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the smallest value that at least ``share`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def latencies(timings: Sequence[Timings]) -> dict[str, dict[str, float]]:
    """p50 and p99 of each phase in seconds."""
    table = {}
    for phase in PHASES:
        values = [float(getattr(each, phase)) for each in timings]
        table[phase] = {"p50": percentile(values, 0.5), "p99": percentile(values, 0.99)}
    return table


@dataclass(frozen=True, slots=True)
class Rows:
    """UNet rows of jobs: those run, those that skip-CFG left out, and the mean number in a call."""

    run: int
    skipped: int
    per_call: float

    @property
    def saved(self) -> float:
        """The share of all rows that full guidance would have run and that were skipped."""
        return self.skipped / max(1, self.run + self.skipped)

    @property
    def unconditional_saved(self) -> float:
        """The share of the unconditional rows alone: with guidance every other row is one."""
        return 2 * self.saved


def rows(views: Sequence[JobView]) -> Rows:
    """The rows of jobs; ``per_call`` weighs each job by the rows it ran."""
    receipts = [view.receipt for view in views if view.receipt is not None]
    run = sum(receipt.rows_run for receipt in receipts)
    weighted = sum(receipt.rows_run * receipt.rows_per_call for receipt in receipts)
    return Rows(run=run, skipped=sum(receipt.rows_skipped for receipt in receipts), per_call=weighted / max(1, run))
