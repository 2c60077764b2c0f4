"""The latest moment at which a worker that was told to leave is gone, whatever still holds it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

BRIEF_S = 1.0


def briefly(call: Callable[[], None]) -> None:
    """Call, and wait no longer than a Redis that answers takes: one that does not holds a call for many seconds."""
    calling = threading.Thread(target=call, name="leaving", daemon=True)
    calling.start()
    calling.join(BRIEF_S)


class Overdue:
    """Calls ``end`` when the limit is over: nothing that waits for a Redis that does not answer can hold it up.

    What such a worker still holds is left to its lapsing leases, as after a crash.
    """

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end
        self._limits: SimpleQueue[float] = SimpleQueue()
        self._thread = threading.Thread(target=self._wait, name="overdue", daemon=True)

    def start(self) -> None:
        """Be ready for a limit."""
        self._thread.start()

    def within(self, seconds: float) -> None:
        """Set a limit; of several the first counts. Takes no lock, for a signal handler."""
        self._limits.put(time.monotonic() + seconds)

    def _wait(self) -> None:
        until = self._limits.get()
        while (left_s := until - time.monotonic()) > 0:
            with suppress(Empty):
                until = min(until, self._limits.get(timeout=left_s))
        self._end()
