"""Taking jobs from producers that have only Celery: the queue ``synerdiff.submit`` into the ledger.

A message is moved to a list of its own before it is looked at and leaves that list when its record is written, so
none is lost with the process. Read twice it changes nothing: the record's id is the job's, or the message's.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, cast

import redis
from redis.exceptions import RedisError

from synerdiff.dispatch import QUEUE_SUBMIT, Hints
from synerdiff.ledger import Ledger
from synerdiff.protocol import Limits, ModelEntry, parse_job
from synerdiff.protocol.errors import (
    FieldError,
    IdempotencyConflict,
    InvalidJob,
    LedgerUnavailable,
    Overloaded,
    UnknownModel,
)
from synerdiff.scheduler.envelope import BadMessage, read_message
from synerdiff.telemetry import get_logger

log = get_logger(__name__)

HELD = "synerdiff:submit:held"
WAIT_S = 1
RETRY_S = 2.0
KEPT_BYTES = 2048
# A producer's own Celery may use priorities; kombu keeps each level in a list of its own, 0 being the most urgent.
QUEUES = (QUEUE_SUBMIT, *(f"{QUEUE_SUBMIT}\x06\x16{level}" for level in (3, 6, 9)))


class Submissions:
    """The consumer of one service; :meth:`run` is its thread."""

    def __init__(
        self, client: redis.Redis, ledger: Ledger, hints: Hints, *, model: str, limits: Limits, stop: threading.Event
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._hints = hints
        self._model = model
        self._limits = limits
        self._stop = stop

    def run(self) -> None:
        """Consume until stopped; while Redis is away, try again every two seconds."""
        recovered = False
        while not self._stop.is_set():
            try:
                if not recovered:
                    self.recover()
                    recovered = True
                self.take_one(WAIT_S)
            except (RedisError, LedgerUnavailable) as error:
                log.debug("submissions wait for Redis", reason=type(error).__name__)
                recovered = False
                self._stop.wait(RETRY_S)

    def recover(self) -> None:
        """Put back what was taken and not finished, by this process or one that died."""
        while self._client.lmove(HELD, QUEUE_SUBMIT, "RIGHT", "RIGHT") is not None:
            log.info("a submission is read again")

    def take_one(self, wait_s: int) -> bool:
        """Handle the next message, waiting up to ``wait_s`` seconds for one; whether there was one."""
        raw = self._next(wait_s)
        if raw is None:
            return False
        try:
            self._submit(raw)
        except Overloaded as error:
            log.warning("submissions wait: the queue is full", retry_after_s=error.retry_after_s)
            self._put_back(raw)
            self._stop.wait(error.retry_after_s)
            return True
        except InvalidJob as error:
            self._refuse("invalid_job", raw, error.message)
        except IdempotencyConflict as error:
            self._refuse(error.code, raw, error.message)
        except BadMessage as error:
            self._refuse("bad_message", raw, str(error))
        self._client.lrem(HELD, 1, cast("str", raw))
        return True

    def _next(self, wait_s: int) -> bytes | None:
        for name in QUEUES[1:]:
            raw = self._client.lmove(name, HELD, "RIGHT", "LEFT")
            if raw is not None:
                return cast("bytes", raw)
        return cast("bytes | None", self._client.blmove(QUEUE_SUBMIT, HELD, wait_s, "RIGHT", "LEFT"))

    def _put_back(self, raw: bytes) -> None:
        pipe = self._client.pipeline(transaction=True)
        pipe.lrem(HELD, 1, cast("str", raw))
        pipe.rpush(QUEUE_SUBMIT, raw)
        pipe.execute()

    def _submit(self, raw: bytes) -> None:
        message = read_message(raw)
        fields: Mapping[str, Any] = {"id": message.task_id, **message.fields}
        entry = self._entry(fields.get("model"))
        job = parse_job(fields, limits=self._limits, entry=entry)
        submission = self._ledger.submit(job, entry.pool)
        self._hints.send(entry.pool, submission.released)
        log.info("submitted from Celery", job_id=job.id, pool=entry.pool, created=submission.created)

    def _entry(self, asked: Any) -> ModelEntry:
        name = asked if isinstance(asked, str) and asked else self._model
        entry = self._ledger.model(name)
        if entry is None:
            known = ", ".join(found.name for found in self._ledger.models()) or "none yet"
            raise UnknownModel([FieldError(field="model", message=f"model {name!r:.60} is not known; known: {known}")])
        return entry

    def _refuse(self, kind: str, raw: bytes, reason: str) -> None:
        log.warning("submission refused", kind=kind, reason=reason)
        body = raw[:KEPT_BYTES].decode("utf-8", "backslashreplace")
        self._ledger.dead_letter(f"submit.{kind}: {reason[:200]}", body)
