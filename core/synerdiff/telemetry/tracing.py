"""OpenTelemetry traces of a job, from its submission through steps to its upload; off unless an endpoint is set.

A span's context travels as W3C ``traceparent`` text: in the job's record between services, in plain strings between
threads. Nothing of OpenTelemetry is imported while tracing is off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from synerdiff.protocol.errors import SettingsError

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace.export import SpanExporter

Attribute = str | int | float | bool
_NS = 1_000_000_000


class Off:
    """Tracing that is off: every call does nothing."""

    on = False

    def span(self, name: str, parent: str = "", **attributes: Attribute) -> AbstractContextManager[None]:
        """Nothing."""
        return nullcontext()

    def record(
        self, name: str, began_s: float, ended_s: float, *, parent: str = "", links: Iterable[str] = (), **_: Attribute
    ) -> None:
        """Nothing."""

    def carrier(self) -> str:
        """No context."""
        return ""


class Tracing(Off):
    """Spans of one service, sent in the background."""

    on = True

    def __init__(self, service: str, exporter: SpanExporter) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self._provider = TracerProvider(resource=Resource.create({"service.name": service}))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("synerdiff")

    @contextmanager
    def _span(self, name: str, parent: str, attributes: dict[str, Attribute]) -> Iterator[None]:
        context = _context(parent) if parent else None  # without a parent, the current span is it
        with self._tracer.start_as_current_span(name, context=context, attributes=attributes):
            yield

    def span(self, name: str, parent: str = "", **attributes: Attribute) -> AbstractContextManager[None]:
        """A span around a block, below ``parent`` or the span that is current."""
        return self._span(name, parent, attributes)

    def record(
        self,
        name: str,
        began_s: float,
        ended_s: float,
        *,
        parent: str = "",
        links: Iterable[str] = (),
        **attributes: Attribute,
    ) -> None:
        """A span that is over, with its times in seconds since the epoch, and links to other jobs' spans."""
        from opentelemetry import trace

        linked = [trace.Link(trace.get_current_span(_context(link)).get_span_context()) for link in links if link]
        span = self._tracer.start_span(
            name, context=_context(parent), links=linked, attributes=attributes, start_time=int(began_s * _NS)
        )
        span.end(int(ended_s * _NS))

    def carrier(self) -> str:
        """The current span's ``traceparent``, empty where there is none."""
        found: dict[str, str] = {}
        _propagator().inject(found)
        return found.get("traceparent", "")

    def flush(self) -> None:
        """Send what waits."""
        self._provider.force_flush()


def tracing_of(service: str, endpoint: str | None) -> Off:
    """A service's tracing to an OTLP/HTTP endpoint, off without one. Raises :class:`SettingsError`."""
    return Tracing(service, exporter_of(endpoint)) if endpoint else Off()


def exporter_of(endpoint: str) -> SpanExporter:
    """What sends spans to an OTLP/HTTP endpoint."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        message = "SYNERDIFF_OTEL_ENDPOINT is set, but OpenTelemetry is not: pip install 'synerdiff[otel]'"
        raise SettingsError(message, field="otel_endpoint") from None
    return OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")


def _propagator() -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator()


def _context(parent: str) -> Context:
    """The context of a ``traceparent``; of damaged text, an empty one."""
    from opentelemetry.context import Context

    found: Context = _propagator().extract({"traceparent": parent}, context=Context())
    return found
