"""Running the gateway as a service."""

from __future__ import annotations

import signal
import socket
import sys
from typing import TYPE_CHECKING

from synerdiff.api.app import create_app
from synerdiff.protocol.errors import SettingsError, SynerDiffError
from synerdiff.settings import Settings
from synerdiff.telemetry import configure_logging

if TYPE_CHECKING:
    import uvicorn

GRACE_S = 5
UNREAD_MS = 60_000


def run_gateway(settings: Settings) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit code, 1 after one sentence when it cannot start."""
    import uvicorn

    configure_logging(settings.log_level, settings.log_format)
    try:
        app = create_app(settings)
        listener = _listen(settings.gateway_host, settings.gateway_port)
    except SynerDiffError as error:
        print(f"synerdiff gateway: {error.message}", file=sys.stderr)  # noqa: T201 - the one sentence
        return 1
    config = uvicorn.Config(
        app, log_config=None, access_log=False, timeout_graceful_shutdown=GRACE_S, timeout_keep_alive=30
    )
    return _run(uvicorn.Server(config), listener)


def _run(server: uvicorn.Server, listener: socket.socket) -> int:
    """Serve; stopping on a signal is a normal end. Uvicorn raises the signal again once it has shut down."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stopped)
    try:
        server.run(sockets=[listener])
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0 if server.started else 1


def _stopped(_number: int, _frame: object) -> None:
    raise SystemExit(0)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(
        socket, "TCP_USER_TIMEOUT"
    ):  # Linux: a connection whose client reads nothing is dropped with its buffers
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        reason = error.strerror or "it cannot be listened on"
        raise SettingsError(
            f"cannot listen on {host}:{port} ({reason}); set SYNERDIFF_GATEWAY_HOST and SYNERDIFF_GATEWAY_PORT"
        ) from None
    return listener
