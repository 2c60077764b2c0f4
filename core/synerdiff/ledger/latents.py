"""Latent checkpoints of running jobs, and how the holders of jobs hear that they are to stop."""

from __future__ import annotations

from typing import Any, Literal

from redis.client import NEVER_DECODE

from synerdiff.ledger.base import Operations
from synerdiff.ledger.failures import translated
from synerdiff.ledger.scripts import text

REVOKED_AT_ONCE = 1000

SetAside = Literal["ask", "take", "still"]


class LatentOperations(Operations):
    """Keep a checkpoint, read it back, make way for a more urgent job, hear of revoked jobs."""

    def keep(self, job_id: str, token: int, steps: int, data: bytes, ttl_s: float) -> bool:
        """Keep the latent checkpoint of a job that ``token`` holds; False if it no longer does.

        It is gone after ``ttl_s`` seconds, or when the job ends. Raises :class:`LedgerFull` when Redis is out of
        memory.
        """
        return bool(self.scripts.run("keep", job_id, token, steps, data, ttl_s))

    def kept(self, job_id: str) -> bytes | None:
        """The latent checkpoint of a job, None if there is none (any more)."""
        client: Any = self.client
        with translated(self.client):
            found = client.execute_command("GET", self.key("latents:" + job_id), **{NEVER_DECODE: True})
        return found if isinstance(found, bytes) else None

    def make_way(self, pool: str, level: int, patience_s: float) -> bool:
        """Whether a full worker is to set a job of ``level`` aside, for one of a higher priority that waits.

        For each waiting job one worker hears so in ``patience_s`` seconds.
        """
        return bool(self.scripts.run("make_way", pool, level, patience_s))

    def set_aside(self, pool: str, worker: str, how: SetAside) -> str | None:
        """The job that waits to run alone, for which a full worker may be set aside (``ask``), is set aside (``take``),
        or is set aside already (``still``); None if there is none, or the worker is needed for others."""
        return self.scripts.run("set_aside", pool, worker, how) or None

    def last_revoked(self, pool: str) -> str:
        """Where the stream of revoked jobs ends now, for :meth:`revoked`."""
        with translated(self.client):
            newest: Any = self.client.xrevrange(self.key("revoked:" + pool), count=1)
        return text(newest[0][0]) if newest else "0"

    def revoked(self, pool: str, after: str, block_s: float) -> tuple[set[str], str]:
        """Running jobs that were cancelled or expired after the entry ``after``, and the last entry read.

        If there is none yet, waits up to ``block_s`` seconds (at most 1) for one.
        """
        key = self.key("revoked:" + pool)
        with translated(self.client):
            reply: Any = self.client.xread(
                {key: after}, count=REVOKED_AT_ONCE, block=max(1, int(min(block_s, 1.0) * 1000))
            )
        streams = reply.values() if isinstance(reply, dict) else [entries for _, entries in reply or []]
        ids, last = set(), after
        for entries in streams:
            nested = bool(entries) and isinstance(entries[0], list)  # RESP3 nests once more
            for entry_id, fields in entries[0] if nested else entries:
                ids.add(str({text(name): text(value) for name, value in fields.items()}["id"]))
                last = text(entry_id)
        return ids, last
