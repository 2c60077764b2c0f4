"""Deleting images that belong to no result: of jobs that were cancelled or expired after a worker had begun them."""

from __future__ import annotations

from typing import Protocol

from synerdiff.ledger import Ledger
from synerdiff.storage import image_key
from synerdiff.telemetry import get_logger

log = get_logger(__name__)

SWEEP_S = 10.0
JOBS_A_SWEEP = 50


class Deleting(Protocol):
    """The part of the object store that this needs."""

    def delete(self, key: str) -> None: ...


class Discards:
    """Sweeps for one pool. Any worker may do it for every other, also for those that died."""

    def __init__(self, ledger: Ledger, store: Deleting, *, pool: str, prefix: str) -> None:
        self._ledger = ledger
        self._store = store
        self._pool = pool
        self._prefix = prefix

    def sweep(self) -> None:
        """Delete what is due. Raises :class:`LedgerUnavailable` or :class:`StorageUnavailable`; then it stays due."""
        for job in self._ledger.due_discards(self._pool, JOBS_A_SWEEP):
            for index in range(job.n):
                self._store.delete(image_key(self._prefix, job, index))
            self._ledger.discarded(self._pool, job.id)
            log.info("images of a job without a result deleted", job_id=job.id)
