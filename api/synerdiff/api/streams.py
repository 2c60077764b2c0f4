"""Server-sent event streams: so many for a tenant, and none kept open for a client that does not read."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager

from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.types import Receive, Scope, Send

from synerdiff.api.errors import TooManyStreams
from synerdiff.api.keys import DEFAULT_TENANT

log = logging.getLogger("synerdiff.api")
HEARTBEAT_S = 15
SEND_TIMEOUT_S = 30.0
RETRY_S = 5.0


class Streams:
    """How many streams each tenant has open on this gateway; at most ``most``, 0 for no cap."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    @contextmanager
    def one(self, tenant: str | None) -> Iterator[None]:
        """Count one stream while the block runs. Raises :class:`TooManyStreams`."""
        name = tenant or DEFAULT_TENANT
        if 0 < self._most <= self._open[name]:
            message = f"tenant {name} may have {self._most} event streams open and has them; close one first"
            raise TooManyStreams(message, retry_after_s=RETRY_S)
        self._open[name] += 1
        try:
            yield
        finally:
            self._open[name] -= 1
            if not self._open[name]:
                del self._open[name]


class EventStream(EventSourceResponse):
    """A stream that ends with its events, with its client, or when the client has read nothing for 30 seconds.

    ``held`` is closed at its end.
    """

    def __init__(self, events: AsyncIterator[ServerSentEvent], held: ExitStack) -> None:
        super().__init__(events, ping=HEARTBEAT_S, send_timeout=SEND_TIMEOUT_S)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream."""
        with self._held:
            try:
                await super().__call__(scope, receive, send)
            except SendTimeoutError:
                log.warning("an event stream is closed: its client read nothing for %g s", SEND_TIMEOUT_S)
