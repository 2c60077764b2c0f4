"""How long a hint that another worker is to follow is kept before it is sent on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

FIRST_S = 0.05
MOST_S = 1.0
FORGET_S = 10.0
REMEMBERED = 256


class PassingOn:
    """A moment the first time, then twice as long each time, up to a second: the worker it is for may be loading its
    engine again, and a hint that comes back at once would go round and round. One copy is kept; others are dropped."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[str, tuple[float, float]] = {}

    def wait_s(self, job_id: str) -> float | None:
        """Seconds to keep this hint of the job; None to drop it, since another one is being kept."""
        now = self._clock()
        with self._lock:
            passed_at, waited_s = self._last.get(job_id, (-FORGET_S, 0.0))
            if now < passed_at + waited_s:
                return None
            self._last.pop(job_id, None)
            wait_s = min(MOST_S, 2 * waited_s) if waited_s and now - passed_at < FORGET_S else FIRST_S
            self._last[job_id] = (now, wait_s)
            if len(self._last) > REMEMBERED:
                del self._last[next(iter(self._last))]
        return wait_s
