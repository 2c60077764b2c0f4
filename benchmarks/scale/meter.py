"""What happened inside a block: CPU seconds of this process and of Redis, commands and bytes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import redis


@dataclass(slots=True)
class Cost:
    """Differences over a block; ``calls`` counts commands by name, those inside scripts too."""

    wall_s: float = 0.0
    client_cpu_s: float = 0.0
    server_cpu_s: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    calls: dict[str, int] = field(default_factory=dict)

    @property
    def commands(self) -> int:
        """All commands that Redis ran."""
        return sum(self.calls.values())

    @property
    def scripts(self) -> int:
        """Scripts that clients called."""
        return self.calls.get("evalsha", 0) + self.calls.get("eval", 0)

    def over(self, count: float) -> dict[str, float]:
        """The figures for one of ``count``."""
        return {
            "client_cpu_s": self.client_cpu_s / count,
            "server_cpu_s": self.server_cpu_s / count,
            "commands": self.commands / count,
            "scripts": self.scripts / count,
            "publishes": self.calls.get("publish", 0) / count,
            "bytes": (self.bytes_in + self.bytes_out) / count,
        }


class Meter:
    """Measures against one Redis."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def _snapshot(self) -> tuple[float, float, float, int, int, dict[str, int]]:
        info: dict[str, Any] = self._client.info("everything")
        calls = {
            name.removeprefix("cmdstat_"): int(value["calls"])
            for name, value in info.items()
            if name.startswith("cmdstat_") and name != "cmdstat_info"
        }
        cpu = float(info["used_cpu_sys"]) + float(info["used_cpu_user"])
        return (
            time.perf_counter(),
            time.process_time(),
            cpu,
            int(info["total_net_input_bytes"]),
            int(info["total_net_output_bytes"]),
            calls,
        )

    @contextmanager
    def measure(self) -> Iterator[Cost]:
        """Fill the yielded cost when the block ends."""
        cost = Cost()
        before = self._snapshot()
        yield cost
        after = self._snapshot()
        cost.wall_s, cost.client_cpu_s, cost.server_cpu_s = (after[i] - before[i] for i in range(3))  # type: ignore[operator]
        cost.bytes_in, cost.bytes_out = after[3] - before[3], after[4] - before[4]
        cost.calls = {name: count - before[5].get(name, 0) for name, count in after[5].items()}

    def memory(self) -> int:
        """Bytes that Redis's data takes."""
        return int(self._client.info("memory")["used_memory"])
