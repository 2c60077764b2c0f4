"""What the scheduler service asks of the ledger: reap, hints that are due, load, pause."""

from __future__ import annotations

from synerdiff.ledger.base import Operations
from synerdiff.ledger.scripts import pairs
from synerdiff.ledger.values import PoolLoad, Reaped

TOTAL = "total:"


class ReconcilerOperations(Operations):
    """Reap, hints that are due, load, pause."""

    def reap(self, pool: str) -> Reaped:
        """End what time has run out for: workers, leases, deadlines. Call it about once a second."""
        answer = self.scripts.run("reap", pool, self.config.reap_gap_s, self.config.lease_grace_s)
        requeued, quarantined, dead, expired, workers, released = (tuple(ids) for ids in answer[:6])
        return Reaped(requeued, quarantined, dead, expired, workers, released, grace=bool(answer[6]))

    def due_hints(self, pool: str, limit: int) -> tuple[str, ...]:
        """Jobs to send hints for again, at most ``limit``; they are marked as sent (1 s, 2 s, 4 s ... 30 s apart)."""
        return tuple(self.scripts.run("due_hints", pool, limit))

    def load(self, pool: str) -> PoolLoad:
        """The pool's counters, at constant cost."""
        now, oldest, workers, flat = self.scripts.run("load", pool)
        counters = pairs(flat)

        def number(field: str) -> int:
            return int(counters.get(field) or 0)

        totals = {field.removeprefix(TOTAL): int(n) for field, n in counters.items() if field.startswith(TOTAL)}
        return PoolLoad(
            pool=pool,
            queued=number("waiting") + number("released") + number("quarantine"),
            released=number("released"),
            quarantined=number("quarantine"),
            running=number("leased"),
            capacity=number("capacity"),
            workers=int(workers),
            outstanding_cost=float(counters.get("cost") or 0),
            oldest_age_s=max(0.0, float(now) - float(oldest)) if oldest else 0.0,
            paused=counters.get("paused") == "1",
            totals={"submitted": number("submitted"), **totals},
        )

    def pause(self, pool: str) -> None:
        """Release and grant nothing more in this pool until :meth:`resume`; running jobs go on."""
        self.scripts.run("pause", pool, "1")

    def resume(self, pool: str) -> tuple[str, ...]:
        """Let a paused pool go on; returns the jobs released."""
        return tuple(self.scripts.run("pause", pool, ""))
