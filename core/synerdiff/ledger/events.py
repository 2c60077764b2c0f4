"""Reads a job's event stream."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Any

from synerdiff.ledger.base import Operations
from synerdiff.ledger.failures import translated
from synerdiff.ledger.scripts import text
from synerdiff.protocol import JobEvent
from synerdiff.protocol.event import KINDS

log = logging.getLogger("synerdiff.ledger")

BLOCK_AT_MOST_S = 1.0  # below the time after which a client gives up on a silent server


class EventOperations(Operations):
    """Events of a job, and waiting for the next."""

    def events(
        self, job_id: str, after: str = "0", block_s: float = 0.0, previews_after: str | None = None
    ) -> list[JobEvent]:
        """The events after the one with id ``after``, oldest first.

        If there is none yet, waits up to ``block_s`` seconds for one. The last event of a job is ``final``.
        With ``previews_after``, the preview after the one with that id comes along.
        """
        previews = {} if previews_after is None else {job_id: previews_after}
        until = time.monotonic() + block_s
        while True:
            left_s = min(BLOCK_AT_MOST_S, until - time.monotonic())
            found = [event for _, event in self.events_of({job_id: after}, left_s, previews)]
            if found or left_s <= 0 or time.monotonic() >= until:
                return found

    def events_of(
        self, after: Mapping[str, str], block_s: float = 0.0, previews: Mapping[str, str] | None = None
    ) -> list[tuple[str, JobEvent]]:
        """The events of several jobs, each after the id that ``after`` has for it, in one call.

        If there is none yet, waits up to ``block_s`` seconds (at most 1) for one. ``previews`` names the jobs whose
        previews are wanted too, each after an id of its own: they come from another stream, which keeps the last one.
        """
        names = {self.key("events:" + job_id): job_id for job_id in after}
        streams: Any = {key: after[job_id] for key, job_id in names.items()}
        for job_id, last in (previews or {}).items():
            names[self.key("preview:" + job_id)] = job_id
            streams[self.key("preview:" + job_id)] = last
        block_ms = max(1, int(min(block_s, BLOCK_AT_MOST_S) * 1000)) if block_s > 0 else None
        with translated(self.client):
            reply: Any = self.client.xread(streams, block=block_ms)
        found = []
        for key, entries in reply.items() if isinstance(reply, dict) else reply or []:
            nested = bool(entries) and isinstance(entries[0], list)  # RESP3 nests once more
            job_id = names[text(key)]
            for entry_id, fields in entries[0] if nested else entries:
                found.append((job_id, self._event(text(entry_id), fields)))
        return found

    def _event(self, entry_id: str, raw: dict[Any, Any]) -> JobEvent:
        """A damaged event as ``other``: its id still moves the reader on, so it hides nothing that comes after."""
        try:
            return _event({"id": entry_id, **self.hash(raw)})
        except (KeyError, ValueError) as error:
            log.warning("event %s is damaged: %s", entry_id, type(error).__name__)
            return JobEvent(id=entry_id, kind="other")


def _event(fields: dict[str, str]) -> JobEvent:
    given: dict[str, Any] = {name: value for name, value in fields.items() if value != ""}
    if "data" in given:
        given["data"] = json.loads(given["data"])
    if given["kind"] not in KINDS:
        given["kind"] = "other"  # of a newer version; its id still moves the reader on
    return JobEvent.model_validate(given)
