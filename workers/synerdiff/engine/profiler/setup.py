"""Threads and memory format: the pair that makes an image in the least time."""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial

import torch

from synerdiff.engine.model import LoadedModel
from synerdiff.policy.profile import Profile

from .rounds import Stage, Task, rounds
from .workload import STEPS, Workload

MARGIN = 0.03
"""What another setup must gain over the default; the median of several interleaved runs is steadier than that."""

PROBE_ROWS = 16


@dataclass(frozen=True, slots=True)
class Setup:
    """How a model is laid out and run.

    ``threads`` are torch's for the engine's thread (0 on a GPU: left alone), ``memory_format`` is ``contiguous`` or
    ``channels_last``.
    """

    threads: int
    memory_format: str


def setup_of(profile: Profile) -> Setup:
    """The setup that a profile was measured in."""
    return Setup(profile.threads, profile.memory_format)


def apply_setup(model: LoadedModel, setup: Setup) -> None:
    """Lay the model out and set the calling thread's torch threads. Images change by rounding at most."""
    layout = torch.channels_last if setup.memory_format == "channels_last" else torch.contiguous_format
    for module in (model.unet, model.vae):
        for parameter in module.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=layout)
    model.laid_out()
    if setup.threads:
        torch.set_num_threads(setup.threads)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def candidates(model: LoadedModel, threads: int) -> list[Setup]:
    """The setups worth trying, the default first: all cores or one, both memory formats."""
    counts = [threads] if threads else sorted({cores(), 1}, reverse=True)
    counts = counts if model.device.type == "cpu" else [0]
    return [Setup(count, layout) for count in counts for layout in ("contiguous", "channels_last")]


def choose_setup(work: Workload, threads: int, max_rows: int, repeats: int) -> Generator[Stage, None, Setup]:
    """Measure the candidates in turn and return the fastest; the default unless another is clearly faster."""
    setups = candidates(work.model, threads)
    rows = max(work.rows_per_sample, min(PROBE_ROWS, max_rows))
    tasks: dict[Setup, Task] = {setup: partial(_time_image, work, setup, rows) for setup in setups}
    found = yield from rounds(tasks, repeats, "threads and memory format")
    seconds = {setup: _image_s(samples.medians, rows / work.rows_per_sample) for setup, samples in found.items()}
    best = min(seconds, key=seconds.__getitem__)
    return best if seconds[best] < (1 - MARGIN) * seconds[setups[0]] else setups[0]


def _time_image(work: Workload, setup: Setup, rows: int) -> tuple[float, ...]:
    apply_setup(work.model, setup)
    work.time_unet(rows)  # the first call after a change of layout prepares the weights
    return (*work.time_unet(rows), sum(work.time_decode("whole")))


def _image_s(parts: tuple[float, ...], samples: float) -> float:
    unet_s, decode_s = parts
    return STEPS * unet_s / samples + decode_s
