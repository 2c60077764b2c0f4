"""What one run of one policy gave."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import torch

from synerdiff.engine.types import Pixels


@dataclass(slots=True)
class JobOutcome:
    """One job of a run; times in seconds after the run's start.

    ``vae_s`` holds, for each image, the time from the end of its last UNet step to its pixels.
    """

    job_id: str
    arrived_s: float
    done_s: float = 0.0
    vae_s: list[float] = field(default_factory=list)
    images: dict[int, Pixels] = field(default_factory=dict)

    @property
    def e2e_s(self) -> float:
        """From arrival to the last of the job's images."""
        return self.done_s - self.arrived_s


@dataclass(slots=True)
class Run:
    """One run over a trace. ``calls`` counts UNet calls by (rows, latent height, latent width).

    ``cpu_marks`` are the CPU seconds spent when each job was done, in that order.
    """

    policy: str
    jobs: dict[str, JobOutcome]
    wall_s: float = 0.0
    cpu_s: float = 0.0
    rows_skipped: int = 0
    cpu_marks: list[float] = field(default_factory=list)
    calls: Counter[tuple[int, int, int]] = field(default_factory=Counter)
    decodes: Counter[tuple[int, int, int]] = field(default_factory=Counter)

    @property
    def images(self) -> int:
        """Images made."""
        return sum(len(job.images) for job in self.jobs.values())

    @property
    def rows_run(self) -> int:
        """UNet rows run."""
        return sum(rows * count for (rows, _, _), count in self.calls.items())

    @property
    def cpu_by_half(self) -> tuple[float, float]:
        """CPU seconds a job in the first and in the second half of the run: alike unless cost grows with uptime."""
        marks, half = self.cpu_marks, len(self.cpu_marks) // 2
        if not half:
            return 0.0, 0.0
        return marks[half - 1] / half, (marks[-1] - marks[half - 1]) / (len(marks) - half)

    @property
    def mean_rows_per_call(self) -> float:
        """Rows in an average UNet call."""
        return self.rows_run / max(1, self.calls.total())


class CallCounter:
    """Counts a UNet's calls by shape while it is active, the same way for every policy."""

    def __init__(self, unet: torch.nn.Module, calls: Counter[tuple[int, int, int]]) -> None:
        self._unet = unet
        self._calls = calls

    def __enter__(self) -> None:
        self._handle = self._unet.register_forward_pre_hook(self._count, with_kwargs=True)

    def __exit__(self, *_: object) -> None:
        self._handle.remove()

    def _count(self, _module: torch.nn.Module, args: tuple[torch.Tensor, ...], kwargs: dict[str, torch.Tensor]) -> None:
        rows, _channels, height, width = (args[0] if args else kwargs["sample"]).shape
        self._calls[rows, height, width] += 1
