"""What a slot and a job cost beside UNet and VAE: bookkeeping, text encoding, joining the batch."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from statistics import median

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


def measure_overheads(
    work: Workload, rows: tuple[int, ...], unet_s: tuple[float, ...]
) -> Generator[Stage, None, Overheads]:
    """Run the engine on a few jobs and see what its slots take beyond the UNet calls of the curve.

    Raises :class:`ModelError` if it cannot run them.
    """
    engine = Engine(work.model, EngineConfig(capacity=JOBS))
    for index in range(JOBS):
        engine.admit(work.request(index, steps=STEPS, prompt=f"object number {index}"))
    slots, encode_s = list[SlotReport](), list[float]()
    while not engine.idle:
        yield len(slots), STEPS + 1, "bookkeeping"
        events = engine.step()
        slots += [event for event in events if isinstance(event, SlotReport) and not event.chunks]
        encode_s += [event.encode_s for event in events if isinstance(event, Admitted)]
        for event in events:
            if isinstance(event, JobFailed):
                raise ModelError(f"the model cannot be profiled: {event.error.message}")
    beyond = [slot.measured_s - slot.vae_s - float(np.interp(slot.rows, rows, unet_s)) for slot in slots[1:]]
    return Overheads(max(0.0, median(beyond)) if beyond else 0.0, median(encode_s) if encode_s else 0.0)
