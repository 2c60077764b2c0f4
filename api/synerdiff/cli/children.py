"""Child processes that never outlive their parent, each with a log file."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from synerdiff.protocol.errors import Unavailable

POLL_S = 0.05
# Runs before the child's program in the child's own process (its pid stays): the kernel is asked to kill it
# when the parent dies, then the program takes its place. A preexec_fn would fork a possibly threaded parent.
_LAUNCH = """
import ctypes, os, signal, sys
parent = int(sys.argv[1])
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != parent:
    sys.exit("the parent is gone")
os.execvp(sys.argv[2], sys.argv[2:])
"""


class Child:
    """One child process: started once, stopped once; ``log`` holds all it prints; it works in ``directory``.

    It leads its own session, so that a Ctrl-C in the terminal reaches the parent alone, which stops its
    children in order. On Linux a parent killed with -9 takes its children along.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid())]
        with log.open("ab") as out:
            self._process = subprocess.Popen(  # noqa: S603 - our own commands
                [*launcher, *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,
                cwd=directory,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def tail(self, lines: int = 8) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait_ready(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Wait until ``ready()``. Raises :class:`Unavailable` when the child dies first or time runs out."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if not self.alive:
                code = self._process.returncode
                raise Unavailable(
                    f"{self.name} stopped with code {code} while starting; {self.log} ends:\n{self.tail()}"
                )
            if time.monotonic() > deadline:
                raise Unavailable(f"{self.name} was not ready after {timeout_s:g} s; {self.log} ends:\n{self.tail()}")
            time.sleep(POLL_S)

    def terminate(self) -> None:
        """Ask it to stop."""
        if self.alive:
            self._process.terminate()

    def kill(self) -> None:
        """Kill it and whatever it left in its session, and reap it."""
        with contextlib.suppress(ProcessLookupError):  # nothing of it is left
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self, grace_s: float = 5.0) -> None:
        """Ask it to stop, wait up to ``grace_s`` seconds, then kill what is left."""
        self.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_s)
        self.kill()
