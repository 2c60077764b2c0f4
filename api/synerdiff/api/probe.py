"""Whether a dependency answers, asked beside the requests: what hangs must not make a probe of the gateway hang."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from synerdiff.protocol.errors import Unavailable

log = logging.getLogger("synerdiff.api")

FRESH_S = 10.0
PATIENCE_S = 2.0  # below the chart's timeout of a probe
NOT_YET = "it has not answered yet"


class Probe:
    """The last answer of ``check``, which raises :class:`Unavailable` with the reason.

    An answer older than ``FRESH_S`` is given once more while a thread asks again.
    """

    def __init__(self, check: Callable[[], object]) -> None:
        self._check = check
        self._lock = threading.Lock()
        self._asking = False
        self._answered = threading.Event()
        self._reason = NOT_YET
        self._at = float("-inf")

    def reason(self) -> str:
        """``ok``, or why not; waits at most ``PATIENCE_S`` seconds, and only for the first answer."""
        with self._lock:
            stale = not self._asking and time.monotonic() - self._at > FRESH_S
            self._asking = self._asking or stale
        if stale:
            # A daemon: a request that hangs must not hold up the end of the process.
            threading.Thread(target=self._ask, name="probe", daemon=True).start()
        self._answered.wait(PATIENCE_S)
        return self._reason

    def _ask(self) -> None:
        self._reason = reason_of(self._check)
        with self._lock:
            self._asking, self._at = False, time.monotonic()
        self._answered.set()


def reason_of(check: Callable[[], object]) -> str:
    """``ok``, or the reason why a dependency does not answer."""
    try:
        check()
    except Unavailable as error:
        return error.message
    except Exception as error:
        log.exception("a dependency could not be checked")
        return f"it could not be checked: {type(error).__name__}"
    return "ok"
