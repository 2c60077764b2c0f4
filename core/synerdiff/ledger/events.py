"""Reads a job's event stream."""

from __future__ import annotations

import json
import time
from typing import Any

from synerdiff.ledger.base import Operations
from synerdiff.ledger.failures import translated
from synerdiff.protocol import JobEvent

BLOCK_AT_MOST_S = 1.0  # below the time after which a client gives up on a silent server


class EventOperations(Operations):
    """Events of a job, and waiting for the next."""

    def events(self, job_id: str, after: str = "0", block_s: float = 0.0) -> list[JobEvent]:
        """The events after the one with id ``after``, oldest first.

        If there is none yet, waits up to ``block_s`` seconds for one. The last event of a job is ``final``.
        """
        until = time.monotonic() + block_s
        while True:
            left_s = min(BLOCK_AT_MOST_S, until - time.monotonic())
            found = self._read(job_id, after, left_s)
            if found or left_s <= 0 or time.monotonic() >= until:
                return found

    def _read(self, job_id: str, after: str, block_s: float) -> list[JobEvent]:
        key = self.key("events:" + job_id)
        block_ms = max(1, int(block_s * 1000)) if block_s > 0 else None
        with translated(self.client):
            reply: Any = self.client.xread({key: after}, block=block_ms)
        if isinstance(reply, dict):  # RESP3
            reply = list(reply.items())
        entries = reply[0][1] if reply else []
        if entries and isinstance(entries[0], list):  # RESP3 nests once more
            entries = entries[0]
        return [_event(self.hash({"id": entry_id, **fields})) for entry_id, fields in entries]


def _event(fields: dict[str, str]) -> JobEvent:
    given: dict[str, Any] = {name: value for name, value in fields.items() if value != ""}
    if "data" in given:
        given["data"] = json.loads(given["data"])
    return JobEvent.model_validate(given)
