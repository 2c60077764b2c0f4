"""Runs the ledger's Lua scripts: one file an operation, with what they share put before it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import redis
from redis.commands.core import Script

from synerdiff.ledger.config import LedgerConfig
from synerdiff.ledger.failures import translated

SHARED = ("keys", "record", "queue", "places")

Argument = str | int | float | bytes


def _file(name: str) -> str:
    return files("synerdiff.ledger").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")


@cache
def source(name: str) -> str:
    """The whole text of one script: its ``#!lua`` line, the shared parts, its own part."""
    shebang, own = _file(name).split("\n", 1)
    return "\n".join([shebang, *(_file(part) for part in SHARED), own])


def text(value: Any) -> Any:
    """A reply with bytes as text, whatever the client was told to decode."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return [text(item) for item in value]
    return value


def pairs(flat: list[Any]) -> dict[str, str]:
    """A hash as Redis replies it from a script, as a dict."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


class Scripts:
    """The operations of one ledger, by name.

    Every script is idempotent, so a call whose reply was lost may be sent again with the same arguments.
    """

    def __init__(self, client: redis.Redis, config: LedgerConfig) -> None:
        self.client = client
        self.config = config
        self._loaded: dict[str, Script] = {}
        self._head: tuple[Argument, ...] = (
            config.result_ttl_s,
            config.dead_ttl_s,
            config.max_attempts,
            config.release_factor,
            config.hint_backoff_s,
            config.hint_backoff_cap_s,
        )

    def run(self, name: str, *args: Argument) -> Any:
        """Run one script; raises :class:`LedgerUnavailable` if Redis cannot be reached or refuses writes."""
        script = self._loaded.get(name)
        if script is None:
            script = self._loaded[name] = self.client.register_script(source(name))
        clock = self.config.clock
        now = "" if clock is None else repr(clock.now)
        with translated(self.client):
            return text(script(args=[self.config.prefix, now, *self._head, *args]))
