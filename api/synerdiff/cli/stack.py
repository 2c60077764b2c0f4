"""The whole fleet as child processes of one: Redis, S3, scheduler, workers, gateway and Flower."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from synerdiff.cli import state
from synerdiff.cli.children import Child
from synerdiff.cli.embedded import S3_PORTS, EmbeddedRedis, EmbeddedS3, S3Access, Server
from synerdiff.cli.extras import require
from synerdiff.cli.ports import GRPC_OFFSET, LOOPBACK, free_ports
from synerdiff.cli.probes import answers, scheduler_ready, worker_ready
from synerdiff.protocol import pool_of
from synerdiff.protocol.errors import SettingsError
from synerdiff.settings import Settings, load

BUCKET = "synerdiff"
SERVICE_TIMEOUT_S = 90.0
WORKER_TIMEOUT_S = 180.0  # loading torch and a model on a busy machine takes its time
STOP_GRACE_S = 40.0

Stage = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class StackPorts:
    """The port of every server; each of S3's five has a gRPC twin 10,000 above."""

    redis: int
    gateway: int
    flower: int
    s3: tuple[int, ...]


def choose_ports(base: int | None) -> StackPorts:
    """Ports from ``base`` upwards, or free ones. Raises :class:`SettingsError` when ``base`` is out of range."""
    if base is None:
        redis, gateway, flower, *s3 = free_ports(3 + S3_PORTS)
        return StackPorts(redis, gateway, flower, tuple(s3))
    highest = 65_535 - GRPC_OFFSET - 3 - S3_PORTS
    if not 1024 <= base <= highest:
        raise SettingsError(f"--port-base must be between 1024 and {highest}; got {base}", field="port_base")
    return StackPorts(base, base + 1, base + 2, tuple(range(base + 3, base + 3 + S3_PORTS)))


class Stack:
    """The fleet on one machine, all state below ``directory``. A context manager: leaving it stops everything.

    Nothing that dies is started again: what is left shows what the fleet does without it.
    """

    def __init__(self, directory: Path, *, model: str, workers: int = 1, port_base: int | None = None) -> None:
        self.directory = directory.resolve()
        self.model = model
        self.ports = choose_ports(port_base)
        self._worker_names = [f"worker-{number}" for number in range(1, workers + 1)]
        self._children: dict[str, Child] = {}
        self._lock: IO[str] | None = None

    def __enter__(self) -> Stack:
        """Take the directory and put the parts in their places; nothing runs yet."""
        require("worker", "scheduler", "gateway", "flower", "embedded")
        self._lock = state.lock(self.directory)
        self._redis = EmbeddedRedis(self.directory / "redis", self.ports.redis, self.log("redis"))
        keys, log = state.s3_keys(self.directory), self.log("s3")
        self._s3 = EmbeddedS3(self.directory / "s3", keys, bucket=BUCKET, ports=self.ports.s3, log=log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._lock is not None:
            self._lock.close()

    def start(self, stage: Stage = lambda _: None) -> None:
        """Start everything and wait until every worker is ready for jobs. ``stage`` hears what is waited for.

        Raises :class:`Unavailable` naming the part that did not start and the end of its log.
        """
        stage("Redis")
        self._redis.start()
        stage("S3")
        self._s3.start()
        state.write_exports(self.environment_file, self.environment)
        scratch = str(state.scratch(self.directory))
        for name in ("scheduler", *self._worker_names, "gateway", "flower"):
            command = [sys.executable, "-m", "synerdiff.cli", name.partition("-")[0]]
            self._children[name] = Child(name, command, log=self.log(name), env={**self.environment, "TMPDIR": scratch})
        self._wait_ready(stage)

    def _wait_ready(self, stage: Stage) -> None:
        stage("gateway")
        self._children["gateway"].wait_ready(answers(f"{self.gateway_url}/healthz"), SERVICE_TIMEOUT_S)
        stage("Flower")
        self._children["flower"].wait_ready(answers(f"{self.flower_url}/healthcheck"), SERVICE_TIMEOUT_S)
        for name in self._worker_names:
            stage(name)
            child = self._children[name]
            child.wait_ready(worker_ready(self._redis.url, pool_of(self.model), child.pid), WORKER_TIMEOUT_S)
        stage("scheduler")
        self._children["scheduler"].wait_ready(scheduler_ready(self._redis.url, pool_of(self.model)), SERVICE_TIMEOUT_S)

    @property
    def environment(self) -> dict[str, str]:
        """The settings by which every service, and any other command, finds this stack."""
        access = self._s3.access
        return {
            "SYNERDIFF_REDIS_URL": self._redis.url,
            "SYNERDIFF_S3_ENDPOINT": access.endpoint,
            "SYNERDIFF_S3_BUCKET": access.bucket,
            "SYNERDIFF_S3_ACCESS_KEY": access.access_key,
            "SYNERDIFF_S3_SECRET_KEY": access.secret_key,
            "SYNERDIFF_MODEL": self.model,
            "SYNERDIFF_GATEWAY_HOST": LOOPBACK,
            "SYNERDIFF_GATEWAY_PORT": str(self.ports.gateway),
            "SYNERDIFF_FLOWER_HOST": LOOPBACK,
            "SYNERDIFF_FLOWER_PORT": str(self.ports.flower),
            "SYNERDIFF_CACHE_DIR": os.environ.get("SYNERDIFF_CACHE_DIR") or str(self.directory / "cache"),
        }

    @property
    def settings(self) -> Settings:
        """The settings of a client of this stack."""
        access = self._s3.access
        return load(
            {
                "redis_url": self._redis.url,
                "model": self.model,
                "s3_endpoint": access.endpoint,
                "s3_bucket": access.bucket,
                "s3_access_key": access.access_key,
                "s3_secret_key": access.secret_key,
            }
        )

    @property
    def redis_url(self) -> str:
        """The address of the queue."""
        return self._redis.url

    @property
    def s3(self) -> S3Access:
        """How to reach the images."""
        return self._s3.access

    @property
    def gateway_url(self) -> str:
        """The address of the HTTP gateway."""
        return f"http://{LOOPBACK}:{self.ports.gateway}"

    @property
    def flower_url(self) -> str:
        """The address of Flower."""
        return f"http://{LOOPBACK}:{self.ports.flower}"

    @property
    def environment_file(self) -> Path:
        """A file of ``export`` lines with :attr:`environment`, for a shell to source."""
        return self.directory / "stack.env"

    def log(self, name: str) -> Path:
        """Where a part's output goes."""
        return self.directory / "logs" / f"{name}.log"

    def describe(self) -> dict[str, Any]:
        """What ``up --json`` prints."""
        from synerdiff.dispatch.app import queue_name

        pids = {name: child.pid for name, child in self._children.items()}
        workers = [pids.pop(name) for name in self._worker_names]
        return {
            "redis_url": self._redis.url,
            "s3": asdict(self._s3.access),
            "gateway_url": self.gateway_url,
            "flower_url": self.flower_url,
            "model": self.model,
            "queues": [queue_name(pool_of(self.model))],  # one list: our broker options have no priorities
            "pids": {"redis": self._redis.pid, "s3": self._s3.pid, **pids, "workers": workers},
        }

    def dead(self) -> list[str]:
        """The names of the parts that no longer run."""
        parts: dict[str, Server | Child] = {"redis": self._redis, "s3": self._s3, **self._children}
        return [name for name, part in parts.items() if not part.alive]

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Stop everything: first those who use Redis and S3, then these two. Leaves no process behind."""
        for child in self._children.values():
            child.terminate()
        deadline = time.monotonic() + grace_s
        for child in self._children.values():
            child.stop(max(0.0, deadline - time.monotonic()))
        self._children.clear()
        self._redis.stop()
        self._s3.stop()
