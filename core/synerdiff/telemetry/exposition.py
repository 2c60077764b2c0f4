"""``/healthz``, ``/readyz`` and ``/metrics`` of a service that speaks no HTTP otherwise, from one thread."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from synerdiff.protocol.errors import SettingsError

if TYPE_CHECKING:
    from prometheus_client.registry import Collector, CollectorRegistry

Checks = Callable[[], dict[str, str]]
"""What is looked at, each ``ok`` or the reason why not."""

OK = "ok"
SLOW_CLIENT_S = 10.0


Registry = Callable[[], "CollectorRegistry"]


def registry_of(*collectors: Collector) -> CollectorRegistry:
    """A registry of its own for each service, so that two in one process do not collide."""
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    return registry


class Exposition:
    """Serves a registry and two lists of checks; a check that fails makes its answer 503.

    ``registry`` gives what is scraped now, ``live`` says whether the process should be left running, ``ready``
    whether it does its work now.
    """

    def __init__(self, registry: Registry, *, live: Checks, ready: Checks) -> None:
        self._registry = registry
        self._checks = {"/healthz": live, "/readyz": ready}
        self._server: ThreadingHTTPServer | None = None

    def start(self, host: str, port: int) -> None:
        """Listen, unless ``port`` is 0. Raises :class:`SettingsError` when the port cannot be had."""
        if not port:
            return
        try:
            self._server = ThreadingHTTPServer((host, port), self._handler())
        except OSError as error:
            reason = error.strerror or "it cannot be listened on"
            message = f"cannot serve metrics on {host}:{port} ({reason}); set SYNERDIFF_METRICS_PORT, or 0 for none"
            raise SettingsError(message, field="metrics_port") from None
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def answer(self, path: str, accept: str = "") -> tuple[int, str, bytes]:
        """Status, media type and body for a path."""
        if path == "/metrics":
            from prometheus_client.exposition import choose_encoder

            encode, media_type = choose_encoder(accept)
            return 200, media_type, encode(self._registry())
        checks = self._checks.get(path)
        if checks is None:
            return 404, "text/plain", b"there are /healthz, /readyz and /metrics\n"
        found = checks()
        good = all(reason == OK for reason in found.values())
        return (200 if good else 503), "application/json", json.dumps({"ok": good, "checks": found}).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer = self.answer

        class Handler(BaseHTTPRequestHandler):
            timeout = SLOW_CLIENT_S

            def do_GET(self) -> None:
                status, media_type, body = answer(self.path.partition("?")[0], self.headers.get("Accept", ""))
                self.send_response(status)
                self.send_header("Content-Type", media_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Scrapes are no news."""

        return Handler
