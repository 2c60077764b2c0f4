"""The models that jobs may ask for, as the ledger's catalogue has them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from synerdiff.protocol import FieldError, ModelEntry, pool_of
from synerdiff.protocol.errors import UnknownModel

FRESH_S = 5.0


class Catalogue:
    """A copy of the catalogue, read again when it is older than ``fresh_s`` seconds or lacks a model.

    A model whose workers are all gone stays in the catalogue: jobs for it wait until workers come back.
    """

    def __init__(self, read: Callable[[], list[ModelEntry]], fresh_s: float = FRESH_S) -> None:
        self._read = read
        self._fresh_s = fresh_s
        self._entries: dict[str, ModelEntry] = {}
        self._read_at = float("-inf")

    def entries(self) -> list[ModelEntry]:
        """Every known model, by name."""
        if time.monotonic() - self._read_at > self._fresh_s:
            self._refresh()
        return sorted(self._entries.values(), key=lambda entry: entry.name)

    def entry(self, name: Any) -> ModelEntry:
        """The entry of one model. Raises :class:`UnknownModel` that names the known ones."""
        self.entries()
        if name not in self._known():
            self._refresh()  # it may have been added a moment ago
        if name not in self._known():
            raise UnknownModel([FieldError(field="model", message=self._unknown(name))])
        return self._entries[name]

    def pool(self, model: str) -> str:
        """The pool that serves a stored job's model, one that has left the catalogue included."""
        self.entries()
        found = self._entries.get(model)
        return found.pool if found else pool_of(model)

    def _known(self) -> list[Any]:
        return list(self._entries)

    def _unknown(self, name: Any) -> str:
        shown = repr(name) if len(repr(name)) <= 80 else f"{repr(name)[:77]}..."
        if not self._entries:
            return f"model {shown} is unknown: no worker has registered a model yet"
        return f"model must be one of {', '.join(sorted(self._entries))}; got {shown}"

    def _refresh(self) -> None:
        self._entries = {entry.name: entry for entry in self._read()}
        self._read_at = time.monotonic()
