"""Keeping malformed messages with the ledger, where a person can look at them."""

from __future__ import annotations

from synerdiff.ledger import Ledger
from synerdiff.protocol.errors import LedgerUnavailable
from synerdiff.telemetry import get_logger

log = get_logger(__name__)

KEPT_BYTES = 2048


class DeadLetters:
    """Puts the kind and the first bytes of a message away."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def __call__(self, kind: str, body: bytes) -> None:
        try:
            self._ledger.dead_letter(kind, body[:KEPT_BYTES].decode("utf-8", "backslashreplace"))
        except LedgerUnavailable as error:
            log.warning("dead letter not kept", kind=kind, reason=error.message)
