"""Streams are counted by tenant, and end when their client does not read."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

import pytest
from sse_starlette import ServerSentEvent

from synerdiff.api import serve, streams
from synerdiff.api.errors import TooManyStreams
from synerdiff.api.streams import EventStream, Streams


def test_each_tenant_has_so_many() -> None:
    open_now = Streams(2)
    with open_now.one("red"), open_now.one("red"), open_now.one(None):
        with pytest.raises(TooManyStreams, match="tenant red may have 2") as caught, open_now.one("red"):
            pass
        assert caught.value.retry_after_s > 0
    with open_now.one("red"):
        pass


def test_without_a_cap_any_number_is_open() -> None:
    open_now = Streams(0)
    with ExitStack() as held:
        for _ in range(1000):
            held.enter_context(open_now.one("red"))
        assert open_now._open == {"red": 1000}
    assert open_now._open == {}


def test_a_client_that_does_not_read_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "SEND_TIMEOUT_S", 0.01)
    open_now, closed = Streams(1), []

    async def events() -> AsyncIterator[ServerSentEvent]:
        try:
            while True:
                yield ServerSentEvent("news")
        finally:
            closed.append(True)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()  # the client's buffers are full

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def run() -> None:
        held = ExitStack()
        held.enter_context(open_now.one("red"))
        await asyncio.wait_for(EventStream(events(), held)({"type": "http", "method": "GET"}, receive, send), 20)

    asyncio.run(run())
    assert closed == [True]
    with open_now.one("red"):
        pass


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the option is Linux's")
def test_a_connection_that_is_not_read_ends_with_its_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "UNREAD_MS", 300)
    with serve._listen("127.0.0.1", 0) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as connection:
            connection.settimeout(30)
            with pytest.raises(OSError, match=os.strerror(errno.ETIMEDOUT)):
                connection.sendall(bytes(64 * 2**20))
