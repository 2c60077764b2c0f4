"""The leases of the jobs at hand: renewed in one call, each only while its job makes progress."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from synerdiff.ledger import Ledger, Renewal
from synerdiff.workers.bridge import Bridge
from synerdiff.workers.runs import GiveBack, Phase, Revoked, Run

STALL_S = 120.0  # a job in the batch that has not moved for so long, while slots go on, is stuck


class Leases:
    """Every claimed job, and whether it still moves.

    A job that waits for its turn, for the engine to empty or for the object store is this worker's to wait
    for; one that is in the engine is renewed while the engine answers and the job itself moves, and while an engine
    that answers no more is being ended, so that the job is still held when its crash is told. What is not renewed
    lapses, and the job runs again elsewhere, or here: then the newer run is held, and the older one told.
    """

    def __init__(self, ledger: Ledger, bridge: Bridge, *, worker: str, lease_s: float) -> None:
        self._ledger = ledger
        self._bridge = bridge
        self._worker = worker
        self._lease_s = lease_s
        self._changed = threading.Condition()
        self._held: dict[str, Run] = {}

    def __len__(self) -> int:
        return len(self._held)

    @property
    def held(self) -> list[Run]:
        """The jobs at hand."""
        with self._changed:
            return list(self._held.values())

    @contextmanager
    def holding(self, run: Run) -> Iterator[None]:
        """Renew a job's lease inside the block."""
        with self._changed:
            before = self._held.get(run.id)
            self._held[run.id] = run
        if before is not None:
            before.tell(Revoked("lost"))  # the newer claim's token is the one that counts
        try:
            yield
        finally:
            run.over.set()
            with self._changed:
                if self._held.get(run.id) is run:
                    del self._held[run.id]
                self._changed.notify_all()

    def make_room(self, reason: str) -> None:
        """Have what the engine still works on handed back, with its latents; what is being stored ends by itself."""
        for run in self.held:
            if run.phase is not Phase.UPLOADING and not run.told_to_leave:
                run.told_to_leave = True
                run.tell(GiveBack(reason))

    def wait_empty(self, timeout_s: float) -> bool:
        """Wait until no job is held; whether that came true in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._held, timeout_s)

    def renew(self) -> None:
        """Renew what moves, and tell the jobs whose lease is gone."""
        self._renew({run.id: run for run in self.held if self._moves(run)})

    def check(self, job_ids: Iterable[str]) -> None:
        """Do the same for these jobs alone, now."""
        wanted = set(job_ids)
        self._renew({run.id: run for run in self.held if run.id in wanted})

    def _renew(self, runs: dict[str, Run]) -> None:
        tokens = {job_id: run.token for job_id, run in runs.items()}
        for job_id, verdict in self._ledger.renew(self._worker, tokens, self._lease_s).items():
            if verdict is not Renewal.HELD:
                runs[job_id].tell(Revoked(verdict.value))

    def _moves(self, run: Run) -> bool:
        if run.phase is Phase.UPLOADING:
            return True
        if self._bridge.pid is None:
            return True  # its engine is being ended, which may take longer than a lease; then it hears of the crash
        if self._bridge.silence_s > self._bridge.patience_s:
            return False
        if run.phase is Phase.ACTIVE and time.monotonic() - run.moved_at > STALL_S:
            # Dropped here; its lease lapses, and the ledger counts the lapse before it runs again.
            run.tell(Revoked("stalled"))
            return False
        return True
