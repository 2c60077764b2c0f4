"""Asking the ledger again while it cannot be reached."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from synerdiff.protocol.errors import LedgerUnavailable
from synerdiff.telemetry import get_logger
from synerdiff.workers.backoff import pauses

log = get_logger(__name__)

Answer = TypeVar("Answer")


def persist(call: Callable[[], Answer], *, stop: threading.Event, what: str) -> Answer | None:
    """Call until the ledger answers; None when ``stop`` is set first. Every ledger call is safe to repeat."""
    for pause_s in pauses(first_s=0.1, most_s=2.0):
        try:
            return call()
        except LedgerUnavailable as error:
            log.warning("ledger not reached", doing=what, reason=error.message)
        if stop.wait(pause_s):
            return None
    return None
