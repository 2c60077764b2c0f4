"""What one run of one policy gave."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
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

    ``marks`` are, for each call in order, its rows and the process's CPU seconds when it began.
    """

    policy: str
    jobs: dict[str, JobOutcome]
    wall_s: float = 0.0
    cpu_s: float = 0.0
    rows_skipped: int = 0
    marks: list[tuple[int, float]] = field(default_factory=list)
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
    def by_half(self) -> list[dict[str, float]]:
        """CPU seconds a UNet row (``cpu_s_per_row``, all that happened between the calls included) and
        ``rows_per_call`` in the first and in the second half of the calls: alike unless cost grows with uptime.

        The last call is where the second half ends, so what follows it is in neither.
        """
        half = len(self.marks) // 2
        return [_span(self.marks[: half + 1]), _span(self.marks[half:])]

    @property
    def mean_rows_per_call(self) -> float:
        """Rows in an average UNet call."""
        return self.rows_run / max(1, self.calls.total())


def _span(marks: Sequence[tuple[int, float]]) -> dict[str, float]:
    """From the first of the calls to the beginning of the last."""
    rows = sum(rows for rows, _ in marks[:-1])
    if not rows:
        return {"cpu_s_per_row": 0.0, "rows_per_call": 0.0}
    return {"cpu_s_per_row": (marks[-1][1] - marks[0][1]) / rows, "rows_per_call": rows / (len(marks) - 1)}


class CallCounter:
    """Counts a UNet's calls by shape while it is active, the same way for every policy."""

    def __init__(self, unet: torch.nn.Module, run: Run) -> None:
        self._unet = unet
        self._run = run

    def __enter__(self) -> None:
        self._handle = self._unet.register_forward_pre_hook(self._count, with_kwargs=True)

    def __exit__(self, *_: object) -> None:
        self._handle.remove()

    def _count(self, _module: torch.nn.Module, args: tuple[torch.Tensor, ...], kwargs: dict[str, torch.Tensor]) -> None:
        rows, _channels, height, width = (args[0] if args else kwargs["sample"]).shape
        self._run.calls[rows, height, width] += 1
        self._run.marks.append((rows, time.process_time()))
