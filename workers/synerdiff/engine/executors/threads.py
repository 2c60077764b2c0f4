"""Two threads: the UNet call in the caller's, the chunks beside it, each with its own share of the cores."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from .outcome import Outcome, SlotTimes, attempt, attempt_all

T = TypeVar("T")
C = TypeVar("C")


class ThreadsExecutor:
    """Runs both sides at once where a slot has both, else all in the calling thread with all its torch threads.

    Args:
        unet_threads: torch threads of the UNet call while chunks run beside it.
        vae_threads: torch threads of the chunks then (``torch.set_num_threads`` holds per thread).
    """

    name = "threads"

    def __init__(
        self, unet_threads: int = 1, vae_threads: int = 1, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._unet_threads = unet_threads
        self._clock = clock
        self._slots = 0
        self._beside = ThreadPoolExecutor(
            1, thread_name_prefix="vae", initializer=torch.set_num_threads, initargs=(vae_threads,)
        )

    def run(self, unet: Callable[[], T] | None, chunks: Sequence[Callable[[], C]]) -> Outcome[T, C]:
        """Run one slot."""
        slot, self._slots = self._slots, self._slots + 1
        if unet is None or not chunks:
            return self._alone(slot, unet, chunks)
        begun = self._clock()
        # Grad and inference modes are per thread, so the chunks' thread takes over the caller's.
        mode = torch.is_inference_mode_enabled()
        future = self._beside.submit(self._run_chunks, chunks, mode)
        result, unet_error = self._with_threads(unet)
        unet_ended = self._clock()
        done, chunk_error, vae_ended = future.result()
        times = SlotTimes(slot, unet_ended - begun, vae_ended - begun, max(unet_ended, vae_ended) - begun)
        return Outcome(slot, result, unet_error, done, chunk_error, times)

    def _alone(self, slot: int, unet: Callable[[], T] | None, chunks: Sequence[Callable[[], C]]) -> Outcome[T, C]:
        begun = self._clock()
        result, unet_error = attempt(unet)
        done, chunk_error = attempt_all(chunks)
        taken = self._clock() - begun
        times = SlotTimes(slot, 0.0 if unet is None else taken, taken if chunks else 0.0, taken)
        return Outcome(slot, result, unet_error, done, chunk_error, times)

    def _run_chunks(
        self, chunks: Sequence[Callable[[], C]], inference: bool
    ) -> tuple[tuple[C, ...], Exception | None, float]:
        with torch.inference_mode(inference):
            done, error = attempt_all(chunks)
        return done, error, self._clock()

    def _with_threads(self, unet: Callable[[], T]) -> tuple[T | None, Exception | None]:
        before = torch.get_num_threads()
        torch.set_num_threads(self._unet_threads)
        try:
            return attempt(unet)
        finally:
            torch.set_num_threads(before)

    def close(self) -> None:
        """End the second thread."""
        self._beside.shutdown()
