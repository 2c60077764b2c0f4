"""The leader lease: of several schedulers one writes plans and reaps, the others stand by."""

from __future__ import annotations

import os
import secrets
import socket

from synerdiff.ledger import LeaderToken, Ledger
from synerdiff.telemetry import get_logger

log = get_logger(__name__)

NAME = "scheduler"
TICKS_HELD = 5


class Leadership:
    """This process's claim to lead; renewed by each :meth:`hold`."""

    def __init__(self, ledger: Ledger, tick_s: float) -> None:
        self._ledger = ledger
        self._ttl_s = max(TICKS_HELD * tick_s, 2.0)
        self.holder = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._epoch: int | None = None

    def hold(self) -> LeaderToken | None:
        """Take or keep the lease; None while another scheduler has it. Raises :class:`LedgerUnavailable`."""
        epoch = self._ledger.lead(NAME, self.holder, self._ttl_s)
        if epoch != self._epoch:
            log.info("leading" if epoch else "standing by for the leader", holder=self.holder, epoch=epoch)
        self._epoch = epoch
        return LeaderToken(NAME, epoch) if epoch else None
