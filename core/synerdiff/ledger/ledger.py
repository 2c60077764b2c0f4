"""The ledger: the truth about every job, and the queue."""

from __future__ import annotations

from typing import Self

from synerdiff.ledger import connection
from synerdiff.ledger.config import LedgerConfig
from synerdiff.ledger.events import EventOperations
from synerdiff.ledger.failures import translated
from synerdiff.ledger.holders import WorkerOperations
from synerdiff.ledger.latents import LatentOperations
from synerdiff.ledger.plans import PlanOperations
from synerdiff.ledger.producers import ProducerOperations
from synerdiff.ledger.reconciler import ReconcilerOperations
from synerdiff.ledger.webhooks import WebhookOperations


class Ledger(
    ProducerOperations,
    WorkerOperations,
    LatentOperations,
    ReconcilerOperations,
    EventOperations,
    PlanOperations,
    WebhookOperations,
):
    """Job records, leases, queue, workers and plans in one Redis.

    Every change of a job is one Lua script (``lua/``, keys documented in ``lua/keys.lua``) that uses the clock of
    Redis and may be called again when its reply was lost. Every method raises :class:`LedgerUnavailable` while
    Redis cannot be reached. Safe to use from several threads.
    """

    @classmethod
    def connect(cls, url: str, config: LedgerConfig | None = None) -> Self:
        """The ledger at a Redis URL; raises :class:`LedgerUnavailable` saying what, where and what to set."""
        return cls(connection.connect(url), config)

    def check_server(self, allow_unsafe: bool = False) -> None:
        """Refuse a Redis that may drop jobs; raises :class:`UnsafeBroker` saying how to mend it."""
        connection.check_server(self.client, allow_unsafe=allow_unsafe)

    def may_end_keys(self) -> bool:
        """Whether this user may let idempotency keys expire; one of an older ACL file may not, and they stay."""
        return connection.may_end_keys(self.client, self.config.prefix)

    def server_time(self) -> float:
        """The clock that leases and deadlines go by, in seconds since the epoch."""
        if self.config.clock is not None:
            return self.config.clock.now
        with translated(self.client):
            seconds, micros = self.client.time()
        return float(seconds) + float(micros) / 1e6

    def close(self) -> None:
        """Close the connections."""
        self.client.close()
