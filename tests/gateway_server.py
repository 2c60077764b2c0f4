"""The gateway behind a real socket, in a thread, for tests that speak HTTP."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn

from synerdiff.api import create_app
from synerdiff.api.context import Gateway
from synerdiff.settings import Settings
from tests.support import wait_until

SHAPE = {"code", "message", "field", "retryable", "docs", "errors"}


@dataclass(frozen=True)
class Served:
    """A gateway that answers at ``url``."""

    url: str
    gateway: Gateway


@contextlib.contextmanager
def served(settings: Settings) -> Iterator[Served]:
    """Serve a gateway until the block ends."""
    app = create_app(settings)
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        wait_until(lambda: server.started or not thread.is_alive(), what="the gateway has started")
        try:
            yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", app.state.gateway)
        finally:
            server.should_exit = True
            thread.join(timeout=10)


def error_of(reply: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The error of a reply that must have this status and code."""
    assert (reply.status_code, reply.headers["content-type"]) == (status, "application/json"), reply.text
    assert set(reply.json()) == {"error"}
    error: dict[str, Any] = reply.json()["error"]
    assert set(error) == SHAPE
    assert error["code"] == code
    assert error["docs"].endswith(f"#{code}")
    return error


def events_of(http: httpx.Client, url: str, last: str | None = None) -> list[dict[str, Any]]:
    """All events of a job's stream until it closes, from the one after ``last``."""
    headers = {"Last-Event-ID": last} if last else {}
    found = []
    with http.stream("GET", url, headers=headers) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        for line in reply.iter_lines():
            name, _, value = line.partition(": ")
            if line and name:
                fields[name] = value
            elif fields:
                found.append({**json.loads(fields["data"]), "id": fields.get("id", ""), "event": fields["event"]})
                fields = {}
    return found
