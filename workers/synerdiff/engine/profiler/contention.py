"""UNet calls and decode chunks beside each other: how much each slows the other down."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial

import torch

from synerdiff.engine.executors import Executor, StreamsExecutor, make_executor
from synerdiff.policy.profile import Granularity, Pairs

from .rounds import Samples, Stage, Task, rounds
from .setup import cores
from .workload import Workload

SHARES = (0.25, 0.5, 1.0)
WORTH = 0.05
"""Share of the time of taking turns that overlap must save to be worth having."""


def beside_name(work: Workload, threads: int) -> str | None:
    """The executor that could run both sides at once here, if any can."""
    if work.model.device.type == "cuda":
        return "streams"
    return "threads" if min(threads or cores(), cores()) > 1 else None


def measure_pairs(
    work: Workload, executor: Executor, rows: tuple[int, ...], finest: Granularity, repeats: int
) -> Generator[Stage, None, tuple[Pairs, float]]:
    """Run every pair of UNet rows and shares of a decode; also return the spread of the least steady one."""
    counts = sorted({max(1, round(share * len(finest.chunk_s))) for share in SHARES})
    tasks: dict[tuple[int, int], Task] = {
        (n, count): partial(time_pair, work, executor, n, count, finest.name) for n in rows for count in counts
    }
    found = yield from rounds(tasks, repeats, "contention")
    decodes = tuple(sum(finest.chunk_s[:count]) / finest.decode_s for count in counts)
    unet_s, vae_s = (_grid(found, rows, counts, side) for side in (0, 1))
    return Pairs(rows, decodes, unet_s, vae_s), max(samples.spread for samples in found.values())


def _grid(
    found: dict[tuple[int, int], Samples], rows: tuple[int, ...], counts: list[int], side: int
) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(found[n, count].medians[side] for count in counts) for n in rows)


@torch.inference_mode()
def time_pair(work: Workload, executor: Executor, rows: int, chunks: int, granularity: str) -> tuple[float, ...]:
    """Seconds until the UNet call and until the first ``chunks`` chunks of a decode were done, started together."""
    decode, call = work.decode(granularity), work.unet_call(rows)
    work.wait()
    outcome = executor.run(call, [lambda: decode.run(1)] * chunks)
    outcome.check()
    times = outcome.times
    if isinstance(executor, StreamsExecutor):
        times = executor.flush()[-1]
    assert times is not None
    return times.unet_s, times.vae_s


def saved(pairs: Pairs, unet_alone: tuple[float, ...], decode_s: float) -> float:
    """Median share of the time of taking turns that running both at once saves; negative where it costs."""
    shares = []
    for i, alone in enumerate(unet_alone):
        for j, decodes in enumerate(pairs.decodes):
            together = max(pairs.unet_s[i][j], pairs.vae_s[i][j])
            shares.append(1 - together / (alone + decodes * decode_s))
    return sorted(shares)[len(shares) // 2]


def make_beside(work: Workload, name: str, threads: int) -> Executor:
    """Make the executor that runs both sides at once."""
    return make_executor(name, work.model.device, threads=threads)
