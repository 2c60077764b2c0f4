"""The fleet under faults, and the operator who restarts what dies."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.faults.broker import Broker
from benchmarks.faults.part import Part, WorkerPart
from benchmarks.faults.proxies import Proxies
from synerdiff.cli.embedded import EmbeddedS3
from synerdiff.ledger import Ledger, WorkerReport
from synerdiff.protocol import pool_of
from synerdiff.protocol.errors import LedgerUnavailable, Unavailable
from synerdiff.settings import Settings, load
from synerdiff.settings.settings import SHIPPED_MODEL

S3_KEYS = ("bench-access-key", "bench-secret-key-0451")
WORKERS = 2
START_S = 240.0
LOOK_S = 0.5
# Else the product's defaults. A short grace, so that SIGTERM comes before a job's end; one torch thread a worker.
SETTINGS = {"GRACE_S": "2", "THREADS": "1", "LOG_FORMAT": "json", "DEVICE": "cpu"}


class Fleet:
    """Valkey, SeaweedFS, the scheduler and the workers; use it as a context manager."""

    def __init__(self, directory: Path, capacity: int) -> None:
        self.directory = directory
        self.capacity = capacity
        self.faults_directory = directory / "ordered"
        self.faults_directory.mkdir(parents=True)
        self.redis = Broker(directory / "redis")
        self.s3 = EmbeddedS3(directory / "s3", S3_KEYS, bucket="images")
        self.redis_held = False
        self.pool = pool_of(SHIPPED_MODEL)
        self.workers: list[WorkerPart] = []
        self.restarts = 0
        self._proxies = Proxies()
        self._stopping = threading.Event()
        self._started = threading.Event()
        self._error: BaseException | None = None
        # The kernel kills the children of a thread that ends: one thread starts them all.
        self._operator = threading.Thread(target=self._operate, name="operator", daemon=True)
        self._orders: list[tuple[Part, threading.Event]] = []

    def __enter__(self) -> Fleet:
        self._operator.start()
        self._started.wait()
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._operator.join(60)
        self._proxies.close()

    # What faults need

    @property
    def settings(self) -> Settings:
        """The settings of a producer beside the fleet, with no proxy between."""
        return load(self._access(self.redis.url, self.s3.access.endpoint))

    @property
    def parts(self) -> list[Part]:
        """The services."""
        return [self.scheduler, *self.workers]

    def make_part(self, name: str) -> Part:
        """Another scheduler or the like, not started."""
        return Part(
            name, self._command(name), self._environment(self.redis.url, self.s3.access.endpoint), self.log(name)
        )

    def order(self, part: Part) -> None:
        """Have the operator start a part now."""
        done = threading.Event()
        self._orders.append((part, done))
        done.wait(30)

    def log(self, name: str) -> Path:
        """Where a part's output goes."""
        return self.directory / "logs" / f"{name}.log"

    @contextlib.contextmanager
    def left_dead(self, *parts: Part) -> Iterator[None]:
        """Inside the block the operator leaves these parts alone."""
        for part in parts:
            part.held = True
        try:
            yield
        finally:
            for part in parts:
                part.held = False

    @contextlib.contextmanager
    def redis_left_dead(self) -> Iterator[None]:
        """Inside the block the operator leaves Redis alone."""
        self.redis_held = True
        try:
            yield
        finally:
            self.redis_held = False

    def reports(self, ledger: Ledger) -> dict[str, WorkerReport]:
        """What the live workers say, by the name of their part."""
        names = {part.pid: part.name for part in self.workers if part.alive}
        return {names[report.pid]: report for report in ledger.workers(self.pool) if report.pid in names}

    def whole(self, ledger: Ledger) -> bool:
        """Whether every worker is registered and ready, and nothing else is."""
        try:
            found = self.reports(ledger)
        except LedgerUnavailable:
            return False
        return len(found) == len(self.workers) and all(report.state == "ready" for report in found.values())

    def wait_whole(self, ledger: Ledger, timeout_s: float = START_S) -> bool:
        """Wait until :meth:`whole`; whether that came true in time."""
        deadline = time.monotonic() + timeout_s
        while not self.whole(ledger):
            if time.monotonic() > deadline or self._stopping.is_set():
                return False
            time.sleep(0.1)
        return True

    # The operator's thread

    def _operate(self) -> None:
        try:
            self._start_all()
        except BaseException as error:
            self._error = error
        self._started.set()
        while self._error is None and not self._stopping.wait(LOOK_S):
            self._look()
        for part in self.parts if self.workers else []:
            if part.child is not None:
                part.child.kill()
        self.redis.kill()
        self.s3.kill()

    def _start_all(self) -> None:
        self.redis.start()
        self.s3.start()
        redis_port, s3_port = self.redis.port, self.s3.ports[0]
        self.scheduler = self.make_part("scheduler")
        for number in range(1, WORKERS + 1):
            name = f"worker-{number}"
            redis, s3 = self._proxies.open(redis_port), self._proxies.open(s3_port)
            environment = self._environment(f"redis://127.0.0.1:{redis.port}/0", f"http://127.0.0.1:{s3.port}")
            part = WorkerPart(name, self._command(name), environment, self.log(name))
            part.redis, part.s3 = redis, s3
            self.workers.append(part)
        for each in self.parts:
            each.start()

    def _look(self) -> None:
        while self._orders:
            part, done = self._orders.pop()
            part.start()
            done.set()
        with contextlib.suppress(Unavailable):  # a port that is not free yet, say: at the next look
            if not self.redis.alive and not self.redis_held:
                self.redis.start()
            if not self.s3.alive:
                self.s3.start()
        for part in self.parts:
            if not part.alive and not part.held:
                self.restarts += 1
                part.start()

    def _access(self, redis_url: str, s3_endpoint: str) -> dict[str, str]:
        access = self.s3.access
        return {
            "redis_url": redis_url,
            "s3_endpoint": s3_endpoint,
            "s3_bucket": access.bucket,
            "s3_access_key": access.access_key,
            "s3_secret_key": access.secret_key,
        }

    def _environment(self, redis_url: str, s3_endpoint: str) -> dict[str, str]:
        given = {name.upper(): value for name, value in self._access(redis_url, s3_endpoint).items()}
        given |= {
            **SETTINGS,
            "CAPACITY": str(self.capacity),
            "TEST_FAULTS": str(self.faults_directory),
            "CACHE_DIR": str(self.directory / "cache"),
        }
        return {
            "OMP_WAIT_POLICY": "passive",
            "HF_HUB_OFFLINE": "1",
            **{f"SYNERDIFF_{name}": value for name, value in given.items()},
        }

    @staticmethod
    def _command(name: str) -> list[str]:
        kind = name.partition("-")[0]
        if kind == "worker":
            return [sys.executable, "-m", "benchmarks.faults.worker"]
        return [sys.executable, "-m", "synerdiff.cli", kind]
