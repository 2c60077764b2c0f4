"""Taking jobs from producers that have only Celery: the queue ``synerdiff.submit`` into the ledger.

A message is moved to a list of its own before it is looked at and leaves that list when its record is written, so
none is lost with the process. Read twice it changes nothing: the record's id is the job's, or the message's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import redis
from redis.exceptions import RedisError

from synerdiff.dispatch import Hints
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
from synerdiff.scheduler.envelope import read_message
from synerdiff.scheduler.inbox import Inbox
from synerdiff.telemetry import get_logger

log = get_logger(__name__)

WAIT_S = 1
RETRY_S = 2.0
KEPT_BYTES = 2048


class Submissions:
    """The consumer of one service; :meth:`run` is its thread."""

    def __init__(
        self,
        client: redis.Redis,
        ledger: Ledger,
        hints: Hints,
        *,
        model: str,
        limits: Limits,
        stop: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inbox = Inbox(client, ledger.config.retry_after_s, clock)
        self._ledger = ledger
        self._hints = hints
        self._model = model
        self._limits = limits
        self.stop = stop
        self._clock = clock
        self._turned_at = clock()

    @property
    def silence_s(self) -> float:
        """Seconds since :meth:`run` last came round."""
        return self._clock() - self._turned_at

    def run(self) -> None:
        """Consume until stopped; while Redis is away, try again every two seconds."""
        recovered = False
        while not self.stop.is_set():
            self._turned_at = self._clock()
            try:
                if not recovered:
                    self.recover()
                    recovered = True
                self.take_one(WAIT_S)
            except (RedisError, LedgerUnavailable) as error:
                log.debug("submissions wait for Redis", reason=type(error).__name__)
                recovered = False
                self.stop.wait(RETRY_S)
            except Exception:  # a mistake of ours: its message is read again at the next start, the others go on
                log.exception("a submission could not be handled")
                self.stop.wait(RETRY_S)

    def recover(self) -> None:
        """Put back what was taken and not finished, by this process or one that died."""
        self._inbox.recover()

    def take_one(self, wait_s: int) -> bool:
        """Handle the next message, waiting up to ``wait_s`` seconds for one; whether there was one.

        One over its tenant's quota steps aside for the others; a full pool makes all wait.
        """
        raw = self._inbox.take(wait_s)
        if raw is None:
            return False
        try:
            self._submit(raw)
        except Overloaded as error:
            self._delay(raw, error)
            return True
        except InvalidJob as error:
            self._refuse("invalid_job", raw, error.message)
        except IdempotencyConflict as error:
            self._refuse(error.code, raw, error.message)
        except (ValueError, TypeError, RecursionError) as error:  # BadMessage, and what no check above foresaw
            self._refuse("bad_message", raw, str(error))
        self._inbox.done(raw)
        return True

    def _delay(self, raw: bytes, error: Overloaded) -> None:
        if error.field == "tenant":
            log.debug("a submission waits for its tenant's quota", reason=error.message)
            self._inbox.set_aside(raw)
            return
        log.warning("submissions wait: the queue is full", retry_after_s=error.retry_after_s)
        self._inbox.put_back(raw)
        self.stop.wait(error.retry_after_s)

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
        entry = self._ledger.model(name) if name.isprintable() else None  # Redis takes no half of a surrogate pair
        if entry is None:
            known = ", ".join(found.name for found in self._ledger.models()) or "none yet"
            raise UnknownModel([FieldError(field="model", message=f"model {name!r:.60} is not known; known: {known}")])
        return entry

    def _refuse(self, kind: str, raw: bytes, reason: str) -> None:
        sentence = " ".join(reason.split())[:200].encode("utf-8", "backslashreplace").decode()
        log.warning("submission refused", kind=kind, reason=sentence)
        body = raw[:KEPT_BYTES].decode("utf-8", "backslashreplace")
        self._ledger.dead_letter(f"submit.{kind}: {sentence}", body)
