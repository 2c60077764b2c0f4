"""Taking turns: the UNet call, then the chunks. The CPU's default, and the reference for the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from .outcome import Outcome, SlotTimes, attempt, attempt_all

T = TypeVar("T")
C = TypeVar("C")


class SerialExecutor:
    """Runs both sides in the calling thread, on the current stream.

    On CUDA its times are those of the launches, unless the calls wait for the device.
    """

    name = "serial"

    def __init__(self, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._slots = 0

    def run(self, unet: Callable[[], T] | None, chunks: Sequence[Callable[[], C]]) -> Outcome[T, C]:
        """Run one slot."""
        slot, self._slots = self._slots, self._slots + 1
        begun = self._clock()
        result, unet_error = attempt(unet)
        between = self._clock()
        done, chunk_error = attempt_all(chunks)
        ended = self._clock()
        times = SlotTimes(slot, between - begun, ended - between, ended - begun)
        return Outcome(slot, result, unet_error, done, chunk_error, times)

    def close(self) -> None:
        """Nothing is held."""
