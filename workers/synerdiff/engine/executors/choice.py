"""Which executor a name means on a device."""

from __future__ import annotations

import torch

from synerdiff.protocol.errors import EngineError

from .outcome import Executor
from .serial import SerialExecutor
from .streams import StreamsExecutor
from .threads import ThreadsExecutor

EXECUTORS = ("serial", "threads", "streams")


def split_threads(threads: int) -> tuple[int, int]:
    """Divide torch's threads between UNet and VAE: a quarter, and at least one, for the VAE; the UNet is larger."""
    vae = max(1, threads // 4)
    return max(1, threads - vae), vae


def make_executor(name: str, device: torch.device, *, threads: int = 0) -> Executor:
    """Make an executor; ``auto`` is ``streams`` on CUDA and ``serial`` elsewhere.

    Args:
        threads: torch threads that the ``threads`` executor divides; 0 means those of the calling thread.

    Raises:
        EngineError: the name is unknown, or the executor cannot run on this device.
    """
    chosen = ("streams" if device.type == "cuda" else "serial") if name == "auto" else name
    if chosen == "serial":
        return SerialExecutor()
    if chosen == "threads" and device.type == "cpu":
        return ThreadsExecutor(*split_threads(threads or torch.get_num_threads()))
    if chosen == "streams" and device.type == "cuda":
        return StreamsExecutor(device)
    if chosen in EXECUTORS:
        needs = "a CUDA device" if chosen == "streams" else "the CPU"
        raise EngineError(f"executor {chosen} needs {needs}, but the model is on {device}", field="executor")
    raise EngineError(f"executor must be auto, {', '.join(EXECUTORS)}; got {name!r:.40}", field="executor")
