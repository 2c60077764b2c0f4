"""The lists that submissions from Celery pass through; a message is in one of them until it is done with."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

import redis

from synerdiff.dispatch import QUEUE_SUBMIT
from synerdiff.telemetry import get_logger

log = get_logger(__name__)

HELD = "synerdiff:submit:held"
ASIDE = "synerdiff:submit:aside"
TRIES = 20
# A producer's own Celery may use priorities; kombu keeps each level in a list of its own, 0 being the most urgent.
QUEUES = (QUEUE_SUBMIT, *(f"{QUEUE_SUBMIT}\x06\x16{level}" for level in (3, 6, 9)))

_TAKE = """
for i = 2, #KEYS do
  local raw = redis.call('LMOVE', KEYS[i], KEYS[1], 'RIGHT', 'LEFT')
  if raw then return { raw, KEYS[i] } end
end
return nil
"""


class Inbox:
    """Messages of ``synerdiff.submit``: taken one at a time, then done with, put back, or set aside.

    What was set aside is tried again every ``rest_s`` seconds, ahead of newer messages, until 20 were in vain: so
    thousands over a quota cost no more than a few, and take turns.
    """

    def __init__(self, client: redis.Redis, rest_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._move = client.register_script(_TAKE)
        self._rest_s = rest_s
        self._clock = clock
        self._rested_at = 0.0  # when those set aside are looked at again
        self._tries = TRIES

    def take(self, wait_s: int) -> bytes | None:
        """The next message, the most urgent level first; None if none comes within ``wait_s`` seconds."""
        again = self._rested
        found = self._move(keys=[HELD, *((ASIDE,) if again else ()), *QUEUES])
        if again and (found is None or found[1] != ASIDE.encode()):
            self._rest()
        if found is None:
            return cast("bytes | None", self._client.blmove(QUEUE_SUBMIT, HELD, wait_s, "RIGHT", "LEFT"))
        return cast("bytes", found[0])

    def done(self, raw: bytes) -> None:
        """Forget a message."""
        self._client.lrem(HELD, 1, cast("str", raw))

    def put_back(self, raw: bytes) -> None:
        """Make it the next message again."""
        pipe = self._client.pipeline(transaction=True)
        pipe.lrem(HELD, 1, cast("str", raw))
        pipe.rpush(QUEUE_SUBMIT, raw)
        pipe.execute()

    def set_aside(self, raw: bytes) -> None:
        """Let the others pass it."""
        pipe = self._client.pipeline(transaction=True)
        pipe.lrem(HELD, 1, cast("str", raw))
        pipe.lpush(ASIDE, raw)
        pipe.execute()
        if self._rested:
            self._tries -= 1
            if not self._tries:
                self._rest()

    def recover(self) -> None:
        """Put back what was taken and not finished, by this process or one that died."""
        while self._client.lmove(HELD, QUEUE_SUBMIT, "RIGHT", "RIGHT") is not None:
            log.info("a submission is read again")

    @property
    def _rested(self) -> bool:
        return self._clock() >= self._rested_at

    def _rest(self) -> None:
        self._rested_at = self._clock() + self._rest_s
        self._tries = TRIES
