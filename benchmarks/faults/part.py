"""One service of the fleet as a process: started, killed, looked at."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import psutil

from benchmarks.faults.proxies import Proxy
from synerdiff.cli.children import Child
from synerdiff.protocol.errors import Unavailable

ROOT = Path(__file__).parents[2]


class Part:
    """One service: how it is started, and whether the operator starts it again when it dies."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.name = name
        self.held = False
        self.child: Child | None = None
        self.deaths: list[int | None] = []
        self._command, self._environment, self._log = command, environment, log

    def start(self) -> None:
        """Start its process."""
        self.child = Child(self.name, self._command, log=self._log, env=self._environment, directory=ROOT)

    @property
    def pid(self) -> int:
        """Its process id."""
        if self.child is None:
            raise Unavailable(f"{self.name} was not started")
        return self.child.pid

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self.child is not None and self.child.alive

    def signal(self, number: signal.Signals) -> None:
        """Send its process a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def family(self) -> list[psutil.Process]:
        """Its process, and those below it."""
        try:
            process = psutil.Process(self.pid)
            return [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


class WorkerPart(Part):
    """A worker behind two proxies of its own: before Redis, and before S3."""

    redis: Proxy
    s3: Proxy

    def engine(self) -> psutil.Process | None:
        """Its engine process."""
        return next((each for each in self.family()[1:] if "synerdiff.workers.child" in each.cmdline()), None)
