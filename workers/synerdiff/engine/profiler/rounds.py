"""Interleaved measurement: every task once a round, so that a slow minute of the machine hits all alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TypeVar

K = TypeVar("K")

Task = Callable[[], tuple[float, ...]]
"""Runs once and returns the seconds of its parts."""

Progress = Callable[[int, int, str], None]
"""Told how many measurements are done, of how many, and what is being measured."""


@dataclass(frozen=True, slots=True)
class Samples:
    """What one task took in each round."""

    runs: tuple[tuple[float, ...], ...]

    @property
    def medians(self) -> tuple[float, ...]:
        """Median seconds of each part."""
        return tuple(median(part) for part in zip(*self.runs, strict=True))

    @property
    def spread(self) -> float:
        """Distance between the quartiles of the total, relative to its median; 0 for a single run."""
        totals = [sum(run) for run in self.runs]
        if len(totals) < 2:
            return 0.0
        low, middle, high = quantiles(totals, n=4, method="inclusive")
        return (high - low) / middle


def interleave(tasks: Mapping[K, Task], repeats: int, progress: Progress, what: str) -> dict[K, Samples]:
    """Warm every task up, then run all of them ``repeats`` times in turn."""
    runs: dict[K, list[tuple[float, ...]]] = {key: [] for key in tasks}
    total, done = len(tasks) * (repeats + 1), 0
    for turn in range(repeats + 1):
        for key, task in tasks.items():
            progress(done, total, what)
            seconds = task()
            if turn:
                runs[key].append(seconds)
            done += 1
    progress(total, total, what)
    return {key: Samples(tuple(each)) for key, each in runs.items()}


def silent(done: int, total: int, what: str) -> None:
    """Report nothing."""
