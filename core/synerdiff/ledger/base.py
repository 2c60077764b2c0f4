"""What all groups of operations share: the client, the scripts, names of keys."""

from __future__ import annotations

from typing import Any

import redis

from synerdiff.ledger.config import LedgerConfig
from synerdiff.ledger.failures import translated
from synerdiff.ledger.scripts import Scripts, text
from synerdiff.ledger.values import Ended
from synerdiff.protocol import JobState


class Operations:
    """The base of each group of operations; a :class:`Ledger` is all groups together."""

    def __init__(self, client: redis.Redis, config: LedgerConfig | None = None) -> None:
        self.client = client
        self.config = config or LedgerConfig()
        self.scripts = Scripts(client, self.config)

    def key(self, name: str) -> str:
        """A key below the ledger's prefix."""
        return self.config.prefix + name

    def pools(self) -> list[str]:
        """The names of all pools that ever had a job or a worker."""
        with translated(self.client):
            return sorted(text(list(self.client.smembers(self.key("pools")))))

    def range_scored(self, name: str, most: int = 10_000) -> list[tuple[str, float]]:
        """The members of a zset, newest (highest) first, with their scores; at most ``most``."""
        with translated(self.client):
            found: Any = self.client.zrevrange(self.key(name), 0, most - 1, withscores=True)
        return [(text(member), float(score)) for member, score in found]

    def range_newest(self, name: str) -> list[str]:
        """The members of a zset, newest (highest) first; bounded to 10,000."""
        return [member for member, _ in self.range_scored(name)]

    @staticmethod
    def hash(raw: dict[Any, Any]) -> dict[str, str]:
        """A hash reply as text."""
        return {text(field): text(value) for field, value in raw.items()}

    @staticmethod
    def ended(answer: list[Any]) -> Ended:
        """The answer of the scripts that end or give back a job."""
        accepted, state, released = answer
        return Ended(bool(accepted), JobState(state) if state else None, tuple(released))
