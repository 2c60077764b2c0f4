"""The gateway's Prometheus metrics; units are in the names."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from synerdiff.ledger import Ledger
from synerdiff.telemetry.exposition import registry_of
from synerdiff.telemetry.pools import Pools
from synerdiff.telemetry.tracing import Off

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Metrics:
    """A registry of its own for each gateway, so that two in one process do not collide."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        names: Any = {"registry": self.registry}
        self.requests = Counter(
            "synerdiff_http_requests_total", "Requests answered", ["method", "route", "status"], **names
        )
        self.latency = Histogram(
            "synerdiff_http_request_seconds", "Time to the start of the answer", ["method", "route"], **names
        )
        self.submitted = Counter(
            "synerdiff_jobs_submitted_total",
            "Jobs taken over HTTP; created is false for a repeat",
            ["created"],
            **names,
        )
        self.webhooks = Counter(
            "synerdiff_webhook_attempts_total",
            "Attempts to deliver a webhook, by whether another follows",
            ["outcome"],
            **names,
        )
        self.streams = Gauge("synerdiff_event_streams", "Open server-sent event streams", **names)

    def render(self, ledger: Ledger, streams: int) -> tuple[bytes, str]:
        """The gateway's metrics and the queue's as text, and its media type."""
        self.streams.set(streams)
        return generate_latest(self.registry) + generate_latest(registry_of(Pools(ledger))), CONTENT_TYPE_LATEST


class Measured:
    """ASGI middleware: counts requests by route (the template, never the path: ids would be labels without end).

    With tracing on, a submission's span continues the trace that its ``traceparent`` header names.
    """

    def __init__(
        self, app: Callable[[Scope, Receive, Send], Awaitable[None]], metrics: Metrics, tracing: Off | None = None
    ) -> None:
        self.app = app
        self.metrics = metrics
        self.tracing = tracing or Off()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()

        async def measured(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._count(scope, message["status"], time.perf_counter() - began)
            await send(message)

        if not (self.tracing.on and scope["method"] == "POST"):
            await self.app(scope, receive, measured)
            return
        parent = dict(scope["headers"]).get(b"traceparent", b"").decode("latin-1")
        with self.tracing.span(f"POST {scope['path']}", parent):
            await self.app(scope, receive, measured)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.metrics.requests.labels(method=method, route=route, status=str(status)).inc()
        self.metrics.latency.labels(method=method, route=route).observe(seconds)


_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"})
