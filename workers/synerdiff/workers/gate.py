"""Whether a hint may be followed now: the engine is there, uploads have room, the worker is not leaving."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Gate:
    """Holds hints back until the worker can take a job, and counts those inside.

    ``room`` says whether uploads have room. Closing the gate turns everybody who waits away.
    """

    def __init__(self, room: Callable[[], bool]) -> None:
        self._room = room
        self._changed = threading.Condition()
        self._engine_up = False
        self._closed = False
        self._inside = 0

    def engine(self, up: bool) -> None:
        """The engine became ready, or was lost."""
        with self._changed:
            self._engine_up = up
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody in from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def close_soon(self) -> None:
        """Close without taking the lock, for a signal handler: who waits is turned away by the next change."""
        self._closed = True

    def poke(self) -> None:
        """Look again: uploads may have room."""
        with self._changed:
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether the worker is leaving."""
        return self._closed

    @contextmanager
    def passing(self) -> Iterator[bool]:
        """Wait until a job may be claimed; false when the gate is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or (self._engine_up and self._room()))
            admitted = not self._closed
            self._inside += 1
        try:
            yield admitted
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def wait_empty(self, timeout_s: float) -> bool:
        """Wait until nobody is inside; whether that came true in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._inside == 0, timeout_s)
