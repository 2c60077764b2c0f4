"""Where a fleet's CPU seconds and Redis calls go: what each of its processes used inside a block.

On a machine whose cores the engine fills, each second that the others use is one that it lacks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil

from benchmarks.scale.meter import Cost, Meter

ENGINE = "engine"


@dataclass(slots=True)
class Account:
    """CPU seconds by part, and what Redis was asked; filled when the block ends."""

    cpu_s: dict[str, float] = field(default_factory=dict)
    redis: Cost = field(default_factory=Cost)

    def over(self, count: float) -> dict[str, Any]:
        """The figures for one of ``count``; ``beside_engine_cpu_s`` is all but the engine's process."""
        cpu_s = {part: seconds / count for part, seconds in self.cpu_s.items()}
        return {
            "cpu_s": cpu_s,
            "beside_engine_cpu_s": sum(seconds for part, seconds in cpu_s.items() if part != ENGINE),
            "script_calls": self.redis.scripts / count,
            "redis_commands": self.redis.commands / count,
            "published": self.redis.calls.get("publish", 0) / count,
        }


class Bookkeeper:
    """Keeps the account of one stack; ``pids`` is what ``up --json`` prints of it."""

    def __init__(self, pids: dict[str, Any], meter: Meter) -> None:
        parents = pids["workers"]
        engines = [child.pid for parent in parents for child in psutil.Process(parent).children()]
        single = {name: [pid] for name, pid in pids.items() if name != "workers"}
        self._parts = {ENGINE: engines, "worker": parents, **single, "producer": [os.getpid()]}
        self._meter = meter

    @contextmanager
    def keeping(self) -> Iterator[Account]:
        """Fill the yielded account when the block ends."""
        account, before = Account(), self._used()
        with self._meter.measure() as account.redis:
            yield account
        account.cpu_s = {part: seconds - before[part] for part, seconds in self._used().items()}

    def _used(self) -> dict[str, float]:
        return {part: sum(map(cpu_seconds, pids)) for part, pids in self._parts.items()}


def cpu_seconds(pid: int) -> float:
    """What a process used so far, all its threads."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
