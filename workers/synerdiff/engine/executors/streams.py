"""Two CUDA streams: the UNet's with the higher priority, the chunks fill what it leaves free.

Nothing here waits for the device. The streams wait for each other on the device alone: both start after the caller's
stream, and the caller's stream goes on after both, so a slot's results can be used at once and its tensors can be
freed after it as if there were one stream. Within a slot a chunk call must keep alive what it reads from elsewhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from .outcome import Outcome, SlotTimes, attempt, attempt_all

T = TypeVar("T")
C = TypeVar("C")

UNET_PRIORITY = -1
VAE_PRIORITY = 0
_MAX_PENDING = 64


@dataclass(frozen=True, slots=True)
class _Marks:
    """The events of one slot: its start, the end of each side, and the end of both."""

    slot: int
    begun: torch.cuda.Event
    unet: torch.cuda.Event
    vae: torch.cuda.Event
    ended: torch.cuda.Event

    def times(self) -> SlotTimes:
        unet_s, vae_s, slot_s = (self.begun.elapsed_time(each) / 1000 for each in (self.unet, self.vae, self.ended))
        return SlotTimes(self.slot, unet_s, vae_s, slot_s)


def _marks(slot: int) -> _Marks:
    begun, unet, vae, ended = (torch.cuda.Event(enable_timing=True) for _ in range(4))
    return _Marks(slot, begun, unet, vae, ended)


class StreamsExecutor:
    """Runs slots on two streams of one device. Times are read one slot later or more, when they are there."""

    name = "streams"

    def __init__(self, device: torch.device | str = "cuda") -> None:
        self._device = torch.device(device)
        self._unet = torch.cuda.Stream(self._device, priority=UNET_PRIORITY)
        self._vae = torch.cuda.Stream(self._device, priority=VAE_PRIORITY)
        self._pending: deque[_Marks] = deque(maxlen=_MAX_PENDING)
        self._slots = 0

    def run(self, unet: Callable[[], T] | None, chunks: Sequence[Callable[[], C]]) -> Outcome[T, C]:
        """Launch one slot."""
        slot, self._slots = self._slots, self._slots + 1
        times = self._read_times()
        main, marks = torch.cuda.current_stream(self._device), _marks(slot)
        marks.begun.record(main)
        # The chunks have few launches, so they go first: the UNet's many launches would keep them waiting.
        with torch.cuda.stream(self._vae):
            self._vae.wait_event(marks.begun)
            done, chunk_error = attempt_all(chunks)
            marks.vae.record(self._vae)
        with torch.cuda.stream(self._unet):
            self._unet.wait_event(marks.begun)
            result, unet_error = attempt(unet)
            marks.unet.record(self._unet)
        main.wait_event(marks.vae)
        main.wait_event(marks.unet)
        marks.ended.record(main)
        self._pending.append(marks)
        return Outcome(slot, result, unet_error, done, chunk_error, times)

    def _read_times(self) -> SlotTimes | None:
        """The oldest unread slot's times if the device has passed its end; asking does not wait."""
        if self._pending and self._pending[0].ended.query():
            return self._pending.popleft().times()
        return None

    def flush(self) -> list[SlotTimes]:
        """Wait for the device and return all times not read yet, oldest first."""
        torch.cuda.synchronize(self._device)
        times = [marks.times() for marks in self._pending]
        self._pending.clear()
        return times

    def close(self) -> None:
        """Wait for what still runs."""
        self.flush()
