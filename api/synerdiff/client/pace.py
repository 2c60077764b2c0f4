"""How long to wait before asking again, and when to give up."""

from __future__ import annotations

import time

FIRST_S = 0.02
LONGEST_S = 0.5
GROWTH = 1.5


class Pace:
    """Pauses that grow from 0.02 s to 0.5 s, never past the timeout (None: no timeout)."""

    def __init__(self, timeout_s: float | None) -> None:
        self.timeout_s = float("inf") if timeout_s is None else timeout_s
        self._deadline = time.monotonic() + self.timeout_s
        self._pause_s = FIRST_S

    @property
    def left_s(self) -> float:
        """Seconds until the timeout, at least 0."""
        return max(0.0, self._deadline - time.monotonic())

    @property
    def over(self) -> bool:
        """Whether the timeout has passed."""
        return self.left_s <= 0

    def next_s(self) -> float:
        """The next pause."""
        pause = min(self._pause_s, self.left_s)
        self._pause_s = min(LONGEST_S, self._pause_s * GROWTH)
        return pause

    def reset(self) -> None:
        """Begin with short pauses again: something has just happened."""
        self._pause_s = FIRST_S
