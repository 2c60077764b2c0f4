"""What a slot and a job cost beside UNet and VAE: bookkeeping, text encoding, joining the batch."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from statistics import median
from typing import Any, Self

import numpy as np

from synerdiff.engine.config import EngineConfig
from synerdiff.engine.engine import Engine
from synerdiff.engine.types import Admitted, JobFailed, SlotReport
from synerdiff.protocol.errors import ModelError

from .rounds import Stage
from .workload import Workload

JOBS = 4
STEPS = 8


@dataclass(frozen=True, slots=True)
class Overheads:
    """Seconds of a slot's bookkeeping and of a prompt's encoding."""

    slot_s: float
    encode_s: float


class UNetClock:
    """Adds up the seconds of a module's calls while it is entered; on a CPU alone, where a call ends with its work."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._begun = 0.0
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self._hooks = (
            self._module.register_forward_pre_hook(self._start),
            self._module.register_forward_hook(self._stop),
        )
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _start(self, *_: object) -> None:
        self._begun = time.perf_counter()

    def _stop(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._begun


def measure_overheads(
    work: Workload, rows: tuple[int, ...], unet_s: tuple[float, ...]
) -> Generator[Stage, None, Overheads]:
    """Run the engine on a few jobs and see what its slots take beyond their UNet calls.

    On a CPU each call is timed inside its slot, since on a shared machine the curve was measured at another pace; on
    a GPU the curve says what the call took. Raises :class:`ModelError` if it cannot run them.
    """
    with closing(Engine(work.model, EngineConfig(capacity=JOBS))) as engine:
        return (yield from _run(work, engine, rows, unet_s))


def _run(
    work: Workload, engine: Engine, rows: tuple[int, ...], unet_s: tuple[float, ...]
) -> Generator[Stage, None, Overheads]:
    for index in range(JOBS):
        engine.admit(work.request(index, steps=STEPS, prompt=f"object number {index}"))
    beyond, encode_s = list[float](), list[float]()
    on_cpu = work.model.device.type == "cpu"
    while not engine.idle:
        yield len(beyond), STEPS + 1, "bookkeeping"
        with UNetClock(work.model.unet_in(work.model.dtype)) as clock:
            events = engine.step()
        for event in events:
            if isinstance(event, JobFailed):
                raise ModelError(f"the model cannot be profiled: {event.error.message}")
            if isinstance(event, Admitted):
                encode_s.append(event.encode_s)
            if isinstance(event, SlotReport) and not event.chunks:
                call_s = clock.seconds if on_cpu else float(np.interp(event.rows, rows, unet_s))
                beyond.append(event.measured_s - event.vae_s - call_s)
    return Overheads(max(0.0, median(beyond[1:] or [0.0])), median(encode_s or [0.0]))
