"""Interleaved measurement: every task once a round, so that a slow minute of the machine hits all alike.

A measurement is a generator that yields before each piece, so that a worker can put it aside when a job comes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TypeVar

K = TypeVar("K")
T = TypeVar("T")

Task = Callable[[], tuple[float, ...]]
"""Runs once and returns the seconds of its parts."""

Stage = tuple[int, int, str]
"""How many measurements are done, of how many, and what is being measured."""

Progress = Callable[[int, int, str], None]
"""Told each stage."""


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


def rounds(
    tasks: Mapping[K, Task], repeats: int, what: str, *, warm_up: bool = True
) -> Generator[Stage, None, dict[K, Samples]]:
    """Warm every task up, then run all of them ``repeats`` times in turn."""
    runs: dict[K, list[tuple[float, ...]]] = {key: [] for key in tasks}
    turns = range(0 if warm_up else 1, repeats + 1)
    total, done = len(tasks) * len(turns), 0
    for turn in turns:
        for key, task in tasks.items():
            yield done, total, what
            seconds = task()
            if turn:
                runs[key].append(seconds)
            done += 1
    yield total, total, what
    return {key: Samples(tuple(each)) for key, each in runs.items()}


def finish(measuring: Generator[Stage, None, T], progress: Progress) -> T:
    """Run a measurement to its end."""
    while True:
        try:
            progress(*next(measuring))
        except StopIteration as end:
            result: T = end.value
            return result


def silent(done: int, total: int, what: str) -> None:
    """Report nothing."""
