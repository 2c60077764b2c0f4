"""What an executor does and what it gives back: results, errors and times of each side, none hiding another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class SlotTimes:
    """Seconds from a slot's start until the UNet call was done, until the chunks were done, and until both were.

    ``slot`` is the number of the slot they belong to. Where both sides take turns, ``unet_s`` and ``vae_s`` are
    each side's own duration.
    """

    slot: int
    unet_s: float
    vae_s: float
    slot_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Outcome(Generic[T, C]):
    """One slot's results.

    Attributes:
        slot: its number, counted by the executor from 0.
        unet: what the UNet call returned; None if there was none or it failed.
        unet_error: what it raised.
        chunks: what the chunk calls returned, in order, up to the first that failed; the rest did not run.
        chunk_error: what the chunk call ``len(chunks)`` raised.
        times: the newest times known: this slot's, or an earlier one's where the device is not waited for
            (``times.slot`` says which), or None.
    """

    slot: int
    unet: T | None
    unet_error: Exception | None
    chunks: tuple[C, ...]
    chunk_error: Exception | None
    times: SlotTimes | None

    def check(self) -> None:
        """Raise the first error there is."""
        for error in (self.unet_error, self.chunk_error):
            if error is not None:
                raise error


class Executor(Protocol):
    """Runs slots, one after another, from one thread."""

    @property
    def name(self) -> str:
        """``serial``, ``threads`` or ``streams``."""

    def run(self, unet: Callable[[], T] | None, chunks: Sequence[Callable[[], C]]) -> Outcome[T, C]:
        """Run one slot. An ``Exception`` of either side comes back in the outcome; nothing is raised."""

    def close(self) -> None:
        """Give back threads and streams."""


def attempt(call: Callable[[], T] | None) -> tuple[T | None, Exception | None]:
    """Call, and return the result or the error."""
    if call is None:
        return None, None
    try:
        return call(), None
    except Exception as error:
        return None, error


def attempt_all(calls: Sequence[Callable[[], C]]) -> tuple[tuple[C, ...], Exception | None]:
    """Call in order until one fails; return the results so far and the error."""
    results: list[C] = []
    for call in calls:
        try:
            results.append(call())
        except Exception as error:
            return tuple(results), error
    return tuple(results), None
