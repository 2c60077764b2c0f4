"""The Redis transport of the worker: kombu's, with a door that turns malformed messages away.

Source: ``kombu.transport.redis`` 5.7, whose ``_brpop_read`` is repeated here with the vetting in between.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty
from typing import Any

from kombu import transport as kombu_transport
from kombu.transport import redis as kombu_redis
from redis._parsers.base import BaseParser
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

from synerdiff.dispatch import GENERATE
from synerdiff.telemetry import get_logger
from synerdiff.workers.vetting import MalformedMessage, vet

log = get_logger(__name__)

VETTED = "vetted-redis"  # the transport's name, also in Celery's log lines
kombu_transport.TRANSPORT_ALIASES[VETTED] = f"{__name__}:Transport"
# Under kombu's own name: it goes over to the next Sentinel by that one's URL, whose scheme then names the transport.
kombu_transport.TRANSPORT_ALIASES["sentinel"] = f"{__name__}:SentinelTransport"


class WritesRefused(ResponseError):
    """Redis takes no writes for now; its text begins with the code, as that of errors unknown to redis-py does."""

    code = ""

    def __init__(self, text: str = "", **options: Any) -> None:
        super().__init__(f"{self.code} {text}", **options)


class TooFewReplicas(WritesRefused):
    """``min-replicas-to-write`` is not met."""

    code = "NOREPLICAS"


class DiskFailed(WritesRefused):
    """Redis cannot write its file."""

    code = "MISCONF"


# redis-py knows no classes for these, and Celery ends a worker for an error it cannot tell from a mistake.
BaseParser.EXCEPTION_CLASSES.update({kind.code: kind for kind in (TooFewReplicas, DiskFailed)})

TASKS = frozenset({GENERATE})
DeadLetter = Callable[[str, bytes], None]
_dead_letter: DeadLetter | None = None


def on_malformed(dead_letter: DeadLetter | None) -> None:
    """Have every message that is turned away handed to ``dead_letter(kind, body)``."""
    global _dead_letter
    _dead_letter = dead_letter


def turn_away(kind: str, body: bytes) -> None:
    """Log a malformed message (its kind and size alone) and keep it with the dead letters."""
    log.warning("malformed message", kind=kind, bytes=len(body))
    if _dead_letter is not None:
        _dead_letter(kind, body)


class Channel(kombu_redis.Channel):
    """A channel that delivers hints and nothing else from its queues."""

    def _brpop_read(self, **options: Any) -> bool:
        try:
            try:
                found = self.client.parse_response(self.client.connection, "BRPOP", **options)
            except self.connection_errors:
                self.client.connection.disconnect()
                raise
            if not found:
                raise Empty()
            queue = found[0].decode().rsplit(self.sep, 1)[0]
            self._queue_cycle.rotate(queue)
            self._deliver_vetted(found[1], queue)
            return True
        finally:
            self._in_poll = None  # type: ignore[assignment]
            self._flush_brpop_reauth()  # type: ignore[no-untyped-call]

    def _deliver_vetted(self, item: bytes | str, queue: str) -> None:
        raw = item if isinstance(item, bytes) else item.encode()
        try:
            message = vet(raw, TASKS)
        except MalformedMessage as error:
            turn_away(error.kind, raw)
            return
        self.connection._deliver(message, queue)

    def _deliver_fanout_message(self, message: Any, exchange: str) -> bool:
        """Deliver a remote-control message; one of a wrong shape must not end the worker."""
        try:
            return bool(super()._deliver_fanout_message(message, exchange))  # type: ignore[no-untyped-call]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            turn_away("control", repr(error).encode())
            return False


class Transport(kombu_redis.Transport):
    """A transport for which a Redis that is full, or takes no writes, is a lost connection: tried again, not fatal."""

    Channel = Channel
    connection_errors = (*kombu_redis.Transport.connection_errors, OutOfMemoryError, ReadOnlyError, WritesRefused)


class SentinelChannel(Channel, kombu_redis.SentinelChannel):
    """The same behind Redis Sentinel."""


class SentinelTransport(Transport):
    """The same behind Redis Sentinel: a master that was demoted is a lost connection."""

    default_port = kombu_redis.SentinelTransport.default_port  # type: ignore[assignment]
    Channel = SentinelChannel
