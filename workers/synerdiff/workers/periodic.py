"""A thread that does one thing again and again, and outlives its failures."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from synerdiff.protocol.errors import SynerDiffError
from synerdiff.telemetry import get_logger

log = get_logger(__name__)


class Periodic:
    """Calls ``action`` every ``interval_s`` seconds until stopped.

    A failure is logged when it begins and when it is over, not each time: an outage of minutes must not
    fill the log.
    """

    def __init__(self, name: str, interval_s: float, action: Callable[[], None]) -> None:
        self.name = name
        self._interval_s = interval_s
        self._action = action
        self._stopping = threading.Event()
        self._failing = False
        self._turned_at = time.monotonic()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    @property
    def silence_s(self) -> float:
        """Seconds since the thread last came round, whether or not its action worked."""
        return time.monotonic() - self._turned_at

    def start(self) -> None:
        """Begin; the first call comes at once."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop after the call that is under way."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _loop(self) -> None:
        while not self._stopping.is_set():
            self._turned_at = time.monotonic()
            self._call()
            self._stopping.wait(self._interval_s)

    def _call(self) -> None:
        try:
            self._action()
        except SynerDiffError as error:
            self._note(error.message)
        except Exception as error:
            # This thread renews leases or says that the worker lives: it must not end by a surprise.
            log.exception("periodic action failed", action=self.name)
            self._note(type(error).__name__)
        else:
            if self._failing:
                log.info("works again", action=self.name)
            self._failing = False

    def _note(self, reason: str) -> None:
        if not self._failing:
            log.warning("does not work for now", action=self.name, reason=reason)
        self._failing = True
