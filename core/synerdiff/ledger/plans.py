"""Plans, profiles, the catalogue, leadership and dead letters."""

from __future__ import annotations

from collections.abc import Mapping

from synerdiff.ledger.base import Operations
from synerdiff.ledger.failures import translated
from synerdiff.ledger.scripts import Argument, text
from synerdiff.ledger.values import LeaderToken
from synerdiff.protocol import ModelEntry
from synerdiff.protocol.errors import PlanError

TABLE_TTL_S = 86_400.0
DEAD_LETTERS = 1000
DEAD_LETTER_CHARS = 4096


class PlanOperations(Operations):
    """Plans, profiles, the catalogue, leadership and dead letters."""

    def lead(self, name: str, holder: str, ttl_s: float) -> int | None:
        """Take or keep the leadership ``name``; its epoch, or None while another holds it."""
        return int(self.scripts.run("lead", name, holder, ttl_s)) or None

    def put_plan(
        self,
        pool: str,
        profile_id: str,
        head: Mapping[str, str],
        table_hash: str,
        table: str | None,
        leader: LeaderToken | None = None,
    ) -> bool:
        """Publish a plan: its ``head``, and its table under ``table_hash`` unless that is stored already.

        False if ``leader`` was deposed: then nothing was written. Raises :class:`PlanError` if the table is
        neither given nor stored.
        """
        fence: tuple[Argument, ...] = ("", "") if leader is None else (leader.name, leader.epoch)
        flat: list[Argument] = [item for pair in head.items() for item in pair]
        args: tuple[Argument, ...] = (pool, profile_id, *fence, table_hash, table or "", TABLE_TTL_S)
        answer = self.scripts.run("put_plan", *args, *flat)
        if answer == "no_table":
            raise PlanError(f"table {table_hash} of the plan for {pool}, {profile_id} is not stored and was not given")
        return bool(answer == "ok")

    def get_plan(self, pool: str, profile_id: str) -> dict[str, str] | None:
        """The head of the plan in force, with its table's hash under ``table``; None if there is none."""
        with translated(self.client):
            return self.hash(self.client.hgetall(self.key(f"plan:{pool}:{profile_id}"))) or None

    def get_table(self, table_hash: str) -> str | None:
        """The text of a plan's table, None once it is out of use."""
        return self._string("table:" + table_hash)

    def put_profile(self, profile_id: str, document: str) -> None:
        """Publish a profile."""
        with translated(self.client):
            self.client.set(self.key("profile:" + profile_id), document)

    def offer_profile(self, profile_id: str, document: str) -> bool:
        """Publish a profile unless one of that id is published; whether it was."""
        with translated(self.client):
            return bool(self.client.set(self.key("profile:" + profile_id), document, nx=True))

    def get_profile(self, profile_id: str) -> str | None:
        """A published profile's document."""
        return self._string("profile:" + profile_id)

    def _string(self, name: str) -> str | None:
        with translated(self.client):
            found: str | None = text(self.client.get(self.key(name)))
        return found

    def put_model(self, entry: ModelEntry) -> None:
        """Add a model to the catalogue, or replace its entry."""
        with translated(self.client):
            self.client.hset(self.key("catalogue"), entry.name, entry.model_dump_json())
            self.client.sadd(self.key("pools"), entry.pool)

    def models(self) -> list[ModelEntry]:
        """The catalogue, by name."""
        with translated(self.client):
            entries = self.hash(self.client.hgetall(self.key("catalogue")))
        return [ModelEntry.model_validate_json(entries[name]) for name in sorted(entries)]

    def model(self, name: str) -> ModelEntry | None:
        """A model's entry, or None."""
        with translated(self.client):
            entry = self.client.hget(self.key("catalogue"), name)
        return None if entry is None else ModelEntry.model_validate_json(text(entry))

    def dead_letter(self, kind: str, body: str) -> None:
        """Keep the head of a message that is none, with what was wrong with it; the newest 1000 are kept."""
        key = self.key("dead_letters")
        pipe = self.client.pipeline()
        pipe.lpush(key, f"{kind}\n{body[:DEAD_LETTER_CHARS]}")
        pipe.ltrim(key, 0, DEAD_LETTERS - 1)
        with translated(self.client):
            pipe.execute()

    def dead_letter_count(self) -> int:
        """How many malformed messages are kept, at most 1000."""
        with translated(self.client):
            count: int = self.client.llen(self.key("dead_letters"))
        return count

    def dead_letters(self, limit: int = 100) -> list[tuple[str, str]]:
        """The newest malformed messages, as kind and body."""
        with translated(self.client):
            found: list[str] = text(self.client.lrange(self.key("dead_letters"), 0, limit - 1))
        return [(kind, body) for kind, _, body in (item.partition("\n") for item in found)]
