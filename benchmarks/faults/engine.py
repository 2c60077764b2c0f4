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

from synerdiff.engine.config import EngineConfig
from synerdiff.engine.engine import Engine
from synerdiff.engine.model import load_model
from synerdiff.engine.types import Event, Request
from synerdiff.workers.engines import ServedEngine, device_name, profile_id, warm_up
from synerdiff.workers.messages import EngineSpec, Ready

DIRECTORY = "SYNERDIFF_TEST_FAULTS"
RAISED: dict[str, type[BaseException]] = {"memory-error": MemoryError, "system-exit": SystemExit}


def _take(name: str) -> bool:
    """Whether the fault of this name is ordered; the order is used up."""
    try:
        (Path(os.environ[DIRECTORY]) / name).unlink()
    except (KeyError, FileNotFoundError):
        return False
    return True


class FaultyEngine(ServedEngine):
    """The served engine; ordered faults come at the beginning of a step."""

    def __init__(self, engine: Engine, ready: Ready) -> None:
        super().__init__(engine, ready)
        self._poison: set[str] = set()

    def admit(self, request: Request) -> None:
        """Queue a job, and remember a poisonous one."""
        if request.prompt.startswith("poison"):
            self._poison.add(request.job_id)
        super().admit(request)

    def cancel(self, job_id: str) -> None:
        """Drop a job."""
        self._poison.discard(job_id)
        super().cancel(job_id)

    def step(self) -> list[Event]:
        """Run one slot, unless a fault is due."""
        if self._poison:
            os.kill(os.getpid(), signal.SIGSEGV)
        for name, error in RAISED.items():
            if _take(name):
                raise error("ordered by the fault bench")
        return super().step()


def _short_of_memory(module: Any, arguments: Any, keywords: Any) -> None:
    rows = arguments[0].shape[0] if arguments else keywords["sample"].shape[0]
    if rows > 2 and _take("out-of-memory"):
        raise torch.OutOfMemoryError("ordered by the fault bench")


def build(spec: EngineSpec) -> FaultyEngine:
    """What the engine process builds instead of the plain engine; else the same."""
    model = load_model(spec.model_path, name=spec.model, device=spec.device, threads=spec.threads)
    engine = Engine(model, EngineConfig(capacity=spec.capacity, max_rows=spec.max_rows, executor=spec.executor))
    warm_up(engine, model)
    model.unet.register_forward_pre_hook(_short_of_memory, with_kwargs=True)
    ready = Ready(model.entry, device_name(model), profile_id(model), {"torch": torch.__version__})
    return FaultyEngine(engine, ready)
