"""Cancelled and expired jobs stop within a step: the ledger tells their holders at once."""

from __future__ import annotations

from synerdiff.ledger import Ledger
from synerdiff.workers.leases import Leases

LISTEN_S = 1.0


class Revocations:
    """Listens to the pool's stream of revoked jobs. What it misses, the next renewal of the leases tells."""

    def __init__(self, ledger: Ledger, leases: Leases, *, pool: str) -> None:
        self._ledger = ledger
        self._leases = leases
        self._pool = pool
        self._last: str | None = None

    def listen(self) -> None:
        """Wait up to a second for news, and renew the leases that it names. Raises :class:`LedgerUnavailable`."""
        if self._last is None:
            self._last = self._ledger.last_revoked(self._pool)
        ids, self._last = self._ledger.revoked(self._pool, self._last, LISTEN_S)
        if ids:
            self._leases.check(ids)
