"""The figures of the scale benchmark and the lines through them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from benchmarks.scale.fits import by_jobs, by_workers, line

mpl.use("Agg")
from matplotlib import pyplot as plt

Series = tuple[str, Sequence[float]]


def draw(document: dict[str, Any], path: Path) -> None:
    """Draw four panels: a tick by workers and by open jobs, a claim and the memory by open jobs."""
    workers, jobs = by_workers(document), by_jobs(document)
    figure, axes = plt.subplots(2, 2, figsize=(11, 7.5), layout="constrained")
    for axis, rows, size, name in (
        (axes[0, 0], workers, "workers", f"{workers[0]['open_jobs']:,} open jobs"),
        (axes[0, 1], jobs, "open_jobs", f"{jobs[0]['workers']:,} workers"),
    ):
        x = [row[size] for row in rows]
        both: list[Series] = [
            ("scheduler", [row["tick_client_cpu_s"] * 1e3 for row in rows]),
            ("Redis", [row["tick_server_cpu_s"] * 1e3 for row in rows]),
        ]
        _panel(axis, x, both, f"a scheduler tick, {name}", size.replace("_", " "), "CPU ms a tick")
    x = [row["open_jobs"] for row in jobs]
    claims: list[Series] = [
        ("worker", [row["claim_client_cpu_s"] * 1e6 for row in jobs]),
        ("Redis", [row["claim_server_cpu_s"] * 1e6 for row in jobs]),
    ]
    _panel(axes[1, 0], x, claims, f"a claim, {jobs[0]['workers']:,} workers", "open jobs", "CPU us a claim")
    _memory(axes[1, 1], document["submits"])
    figure.suptitle("CPU time, commands and bytes of the real ledger, scheduler and Redis; engines are simulated")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _memory(axis: Any, submits: Sequence[dict[str, float]]) -> None:
    sizes = [row["open_jobs"] for row in submits]
    added = [
        row["memory_bytes"] * (now - before) for row, now, before in zip(submits, sizes, [0, *sizes], strict=False)
    ]
    total: list[Series] = [("Redis", [each / 1e6 for each in accumulate(added)])]
    _panel(axis, sizes, total, "memory of open jobs", "open jobs", "MB")


def _panel(axis: Any, x: Sequence[float], series: Sequence[Series], title: str, x_name: str, y_name: str) -> None:
    ends = np.array([0.0, max(x)])
    for number, (name, y) in enumerate(series):
        fit = line(x, y)
        axis.plot(x, y, "o", color=f"C{number}")
        label = f"{name}: {fit.base:.3g} {fit.slope * 1000:+.3g} per 1,000"
        axis.plot(ends, fit.base + fit.slope * ends, "-", color=f"C{number}", linewidth=1, label=label)
    axis.set(title=title, xlabel=x_name, ylabel=y_name, xlim=(0, None), ylim=(0, None))
    axis.legend(fontsize=9)
    axis.grid(alpha=0.3)
