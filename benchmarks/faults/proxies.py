"""TCP proxies that can turn bad: silent, slow, closed, answering with errors, or swallowing replies."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Literal

Mode = Literal["pass", "hole", "no_replies", "refuse", "slow", "error_500"]
CHUNK = 65_536
SLOW_S = 1.5  # what a slow link adds to every chunk
ERROR_500 = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Proxies:
    """One event loop in a thread of its own, for all proxies."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._opened: list[Proxy] = []
        self._thread = threading.Thread(target=self.loop.run_forever, name="proxies", daemon=True)
        self._thread.start()

    def open(self, target_port: int, listen_port: int = 0) -> Proxy:
        """A proxy before a port of this machine."""
        proxy = Proxy(target_port, self.loop)
        self._opened.append(proxy)
        asyncio.run_coroutine_threadsafe(proxy.listen(listen_port), self.loop).result(10)
        return proxy

    def close(self) -> None:
        """End all of them."""
        asyncio.run_coroutine_threadsafe(self._close(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    async def _close(self) -> None:
        for proxy in self._opened:
            proxy.shut()
        connections = asyncio.all_tasks() - {asyncio.current_task()}
        for each in connections:
            each.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


class Proxy:
    """One listening port before one target port.

    ``hole`` takes bytes and passes none on; ``no_replies`` passes requests on and drops the answers; ``refuse``
    closes every connection; ``slow`` holds every chunk back for a while; ``error_500`` answers each request itself.
    ``on_put`` is called, once, when the answer to an HTTP PUT comes by, before it is passed on.
    """

    def __init__(self, target_port: int, loop: asyncio.AbstractEventLoop) -> None:
        self.target_port = target_port
        self.port = 0
        self.on_put: Callable[[], None] | None = None
        self._loop = loop
        self._mode: Mode = "pass"
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def set(self, mode: Mode) -> None:
        """Change what it does, for connections that are open too; those that lost bytes are closed."""
        asyncio.run_coroutine_threadsafe(self._set(mode), self._loop).result(10)

    async def listen(self, port: int) -> None:
        """Open the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    def shut(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _set(self, mode: Mode) -> None:
        broken = mode in ("refuse", "error_500") or self._mode in ("hole", "no_replies")
        self._mode = mode
        if broken:
            for writer in list(self._writers):
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode == "refuse":
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        putting = asyncio.Event()
        await asyncio.gather(
            self._requests(reader, far_writer, writer, putting), self._replies(far_reader, writer, putting)
        )
        self._writers -= {writer, far_writer}
        for each in (writer, far_writer):
            each.close()

    async def _requests(
        self,
        reader: asyncio.StreamReader,
        far: asyncio.StreamWriter,
        near: asyncio.StreamWriter,
        putting: asyncio.Event,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if data.startswith(b"PUT "):
                    putting.set()
                if self._mode == "error_500":
                    near.write(ERROR_500)
                    await near.drain()
                    break
                if self._mode == "slow":
                    await asyncio.sleep(SLOW_S)
                if self._mode != "hole":
                    far.write(data)
                    await far.drain()
        far.close()

    async def _replies(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter, putting: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if putting.is_set() and data.startswith(b"HTTP/1.1 200"):
                    putting.clear()
                    hook, self.on_put = self.on_put, None
                    if hook is not None:
                        hook()
                if self._mode in ("hole", "no_replies"):
                    continue
                near.write(data)
                await near.drain()
        near.close()
