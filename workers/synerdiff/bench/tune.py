"""Tuning the static baseline for a trace: the cap and window that serve it best, by its own measured batch times."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from synerdiff.bench.pipeline import Batching, Pipeline, next_batch
from synerdiff.bench.workload import Arrival
from synerdiff.engine.types import Request

CAPS = (1, 2, 4, 8, 16)
WINDOWS_S = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
SHORT, LONG, REPEATS = 2, 8, 3


@dataclass(frozen=True, slots=True)
class BatchTime:
    """Seconds of one batch of a size: ``fixed_s + step_s * steps``."""

    fixed_s: float
    step_s: float

    def seconds(self, steps: int) -> float:
        """The batch's time."""
        return self.fixed_s + self.step_s * steps


def measure(pipeline: Pipeline, like: Request) -> dict[int, BatchTime]:
    """Time the plain pipeline at every cap, short and long runs taking turns; medians."""
    found = {}
    for cap in CAPS:
        batch = [replace(like, n=1, seed=like.seed + index) for index in range(cap)]
        pipeline.generate([replace(request, steps=SHORT) for request in batch])
        spent: dict[int, list[float]] = {SHORT: [], LONG: []}
        for _ in range(REPEATS):
            for steps, times in spent.items():
                start = time.perf_counter()
                pipeline.generate([replace(request, steps=steps) for request in batch])
                times.append(time.perf_counter() - start)
        step_s = max(0.0, (median(spent[LONG]) - median(spent[SHORT])) / (LONG - SHORT))
        found[cap] = BatchTime(median(spent[SHORT]) - SHORT * step_s, step_s)
    return found


def replay(trace: Sequence[Arrival], batching: Batching, times: Mapping[int, BatchTime]) -> tuple[float, float]:
    """Serve a trace in virtual time; returns the makespan and the mean E2E latency in seconds."""
    now, done, arrived = 0.0, [], 0
    waiting: list[Request] = []
    at = {item.request.job_id: item.at for item in trace}
    while waiting or arrived < len(trace):
        if not waiting:
            now = max(now, trace[arrived].at)
        while arrived < len(trace) and trace[arrived].at <= now:
            waiting.append(trace[arrived].request)
            arrived += 1
        batch = next_batch(waiting, batching.cap)
        size = sum(request.n for request in batch)
        closes = at[waiting[0].job_id] + batching.window_s
        if size < batching.cap and arrived < len(trace) and trace[arrived].at <= closes:
            now = trace[arrived].at
            continue
        if size < batching.cap and arrived < len(trace):
            now = max(now, closes)
        now += _batch_time(times, size).seconds(batch[0].steps)
        done += [now - at[request.job_id] for request in batch]
        waiting = [request for request in waiting if request not in batch]
    return now, sum(done) / len(done)


def _batch_time(times: Mapping[int, BatchTime], size: int) -> BatchTime:
    """The measured time of a size, straight lines between the measured ones."""
    above = min((cap for cap in times if cap >= size), default=max(times))
    below = max((cap for cap in times if cap <= size), default=min(times))
    if above == below:
        return times[above]
    share = (size - below) / (above - below)
    one, other = times[below], times[above]
    return BatchTime(
        one.fixed_s + share * (other.fixed_s - one.fixed_s), one.step_s + share * (other.step_s - one.step_s)
    )


def best_batching(trace: Sequence[Arrival], times: Mapping[int, BatchTime], *, closed: bool) -> Batching:
    """The cap and window with the shortest makespan (``closed``) or the lowest mean latency."""
    windows = (0.0,) if closed else WINDOWS_S
    options = [Batching(cap, window) for cap in CAPS for window in windows]
    return min(options, key=lambda option: replay(trace, option, times)[0 if closed else 1])
