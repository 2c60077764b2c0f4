"""The real engine with faults at hand, for the bench's workers alone; runs in the engine process.

A file in the directory ``SYNERDIFF_TEST_FAULTS`` brings a fault about, once, in the first engine that steps with a job
in it: ``memory-error``, ``system-exit`` (raised in a step), ``out-of-memory`` (the device has no room for a UNet call).
A prompt that starts with ``poison`` kills the process at the job's first step.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from synerdiff.engine.types import Event, Request
from synerdiff.workers import engines
from synerdiff.workers.messages import EngineSpec

DIRECTORY = "SYNERDIFF_TEST_FAULTS"
RAISED: dict[str, type[BaseException]] = {"memory-error": MemoryError, "system-exit": SystemExit}


def _take(name: str) -> bool:
    """Whether the fault of this name is ordered; the order is used up."""
    try:
        (Path(os.environ[DIRECTORY]) / name).unlink()
    except (KeyError, FileNotFoundError):
        return False
    return True


class FaultyEngine:
    """Stands before the served engine; ordered faults come at the beginning of a step, all else is passed on."""

    def __init__(self, served: engines.ServedEngine) -> None:
        self._served = served
        self._poison: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._served, name)

    def admit(self, request: Request, *rest: Any) -> None:
        """Queue a job, and remember a poisonous one."""
        if request.prompt.startswith("poison"):
            self._poison.add(request.job_id)
        self._served.admit(request, *rest)

    def cancel(self, job_id: str) -> None:
        """Drop a job."""
        self._poison.discard(job_id)
        self._served.cancel(job_id)

    def step(self) -> list[Event]:
        """Run one slot, unless a fault is due."""
        if self._poison:
            os.kill(os.getpid(), signal.SIGSEGV)
        for name, error in RAISED.items():
            if _take(name):
                raise error("ordered by the fault bench")
        return self._served.step()


def _run_short_of_memory() -> None:
    """From now on an ordered ``out-of-memory`` fails the next UNet call of more than two rows."""
    unet: Any = UNet2DConditionModel
    forward = unet.forward

    def short(self: Any, sample: torch.Tensor, *arguments: Any, **keywords: Any) -> Any:
        if sample.shape[0] > 2 and _take("out-of-memory"):
            raise torch.OutOfMemoryError("ordered by the fault bench")
        return forward(self, sample, *arguments, **keywords)

    unet.forward = short


def build(spec: EngineSpec) -> FaultyEngine:
    """What the engine process builds instead of the plain engine."""
    served = engines.build(spec)
    _run_short_of_memory()
    return FaultyEngine(served)
