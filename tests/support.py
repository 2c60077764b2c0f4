"""Helpers that tests share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path
from typing import TypeVar

Found = TypeVar("Found")

POLL_S = 0.02


def wait_until(condition: Callable[[], Found | None], timeout_s: float = 30.0, *, what: str = "the condition") -> Found:
    """Call ``condition`` until it returns something true, and return that.

    Raises :class:`AssertionError` naming ``what`` was waited for when ``timeout_s`` seconds pass first.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout_s:g} s; last seen: {found!r}")
        time.sleep(POLL_S)


async def until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    """The same on an event loop, which goes on meanwhile."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"it did not come true within {timeout_s:g} s"
        await asyncio.sleep(0.001)


def binary(package: str, name: str) -> Path:
    """The program that an installed package brought, wherever its environment keeps programs."""
    files = distribution(package).files or []
    return next(Path(str(file.locate())).resolve() for file in files if file.name == name)
