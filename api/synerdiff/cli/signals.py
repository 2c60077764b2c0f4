"""Stopping a command that holds processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(BaseException):
    """Somebody asked this process to stop. Not an error, so that no ``except Exception`` swallows it."""


@contextmanager
def stop_requests() -> Iterator[None]:
    """Inside, the first SIGINT, SIGTERM or SIGHUP raises :class:`StopRequested`; a second one acts as usual."""
    before = {number: signal.getsignal(number) for number in STOPPING}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def request(number: int, frame: FrameType | None) -> None:
        for each in STOPPING:
            signal.signal(each, signal.SIG_DFL)
        raise StopRequested

    for number in STOPPING:
        signal.signal(number, request)
    try:
        yield
    finally:
        restore()
