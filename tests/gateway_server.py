"""The gateway behind a real socket, in a thread, for tests that speak HTTP."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import uvicorn

from synerdiff.api import create_app
from synerdiff.api.context import Gateway
from synerdiff.settings import Settings
from tests.support import wait_until


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
