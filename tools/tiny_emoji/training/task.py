"""What the trainer needs to know of a task; a task is a small value that travels to every process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from tools.tiny_emoji.training.muon import Rates


@dataclass(frozen=True, slots=True)
class Share:
    """One process's part of a step: samples ``start`` to ``start + count`` of the stream, and its own randomness."""

    start: int
    count: int
    progress: float
    rng: np.random.Generator
    noise: torch.Generator


def share(seed: int, step: int, rank: int, start: int, count: int, progress: float) -> Share:
    """Randomness that depends on nothing but seed, step and rank: an interrupted run goes on as if it hadn't been."""
    rng = np.random.default_rng((seed, step, rank))
    noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
    return Share(start, count, progress, rng, noise)


class Work(Protocol):
    """A task at work in one process."""

    def loss(self, share: Share) -> Tensor:
        """The mean loss of this share, to be differentiated."""


class Task(Protocol):
    """A thing to train."""

    def modules(self) -> dict[str, nn.Module]:
        """Modules by name, initialised from the task's seed; what takes a gradient is trained."""

    def work(self, modules: Mapping[str, nn.Module]) -> Work:
        """Open data and be ready, in a process of one thread."""

    def batch(self, progress: float) -> int:
        """Samples of a step, over all processes."""

    def extras(self) -> dict[str, Any]:
        """Values of its own that a checkpoint keeps."""

    def export(self, modules: Mapping[str, nn.Module], seen: int, last: bool) -> None:
        """Write what was learned; the modules hold the averaged weights."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train: when it ends, and the numbers of optimiser, schedule and average.

    ``samples`` is the total seen at the end; ``export_every`` counts samples (0: only at the end).
    """

    samples: int
    rates: Rates
    warm: int
    decay: float
    floor: float
    average: float
    checkpoint: Path
    pause: Path
    seed: int = 0
    processes: int = 2
    checkpoint_s: float = 240.0
    export_every: int = 0
