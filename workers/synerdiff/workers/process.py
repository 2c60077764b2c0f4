"""One engine process, seen from its parent: start, talk, kill."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from synerdiff.protocol import ErrorInfo
from synerdiff.protocol.errors import EngineError
from synerdiff.workers.messages import Broken, Command, EngineSpec, Report

KILL_WAIT_S = 10.0
STALL_S = 30.0  # within a message, which is in memory before its first byte is sent; no more than ``hang_s``


def _environment(spec: EngineSpec) -> dict[str, str]:
    """Torch's threads, fixed before torch is imported.

    They wait instead of spinning: any busy neighbour makes spinning ones collapse. Unless told otherwise one
    core is left to the worker itself.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = str(spec.threads or max(1, cores - 1))
    chosen = {"OMP_NUM_THREADS": threads} if spec.threads else {}
    return {"OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "passive", **os.environ, **chosen}


class EngineProcess:
    """A running engine process and the pipe to it.

    Start it from a thread that lives as long as the worker: the kernel kills the process when the *thread*
    that started it ends (PR_SET_PDEATHSIG). ``hang_s`` bounds its silence within a message.
    """

    def __init__(self, spec: EngineSpec, hang_s: float = STALL_S) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "synerdiff.workers.child", str(theirs.fileno()), str(os.getpid())]
            self._process = subprocess.Popen(  # noqa: S603
                command, env=_environment(spec), pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL
            )
        # A process that is stopped in the middle of a message must not hold its reader, who is to notice such things.
        self._stall_s = min(STALL_S, hang_s)
        timeout = struct.pack("ll", int(self._stall_s), int(self._stall_s % 1.0 * 1e6))
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        self._pipe: Connection[Any, Any] = Connection(ours.detach())
        self._sending = threading.Lock()
        self._closing = threading.Lock()
        self._pipe.send(spec)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def send(self, command: Command) -> None:
        """Hand a command over. Raises :class:`EngineError` when the process is gone."""
        try:
            with self._sending:
                self._pipe.send(command)
        except OSError as error:
            raise EngineError("the engine process is gone") from error

    def receive(self, timeout_s: float, on_begin: Callable[[], None] = lambda: None) -> Report | None:
        """The next report, or None after ``timeout_s``; ``on_begin`` is called when its first byte is here.

        Raises :class:`EOFError` when the process is gone.
        """
        try:
            if not self._pipe.poll(timeout_s):
                return None
            on_begin()
            report: Report = self._pipe.recv()
        except BlockingIOError:
            message = f"the engine was silent for {self._stall_s:g} s in the middle of a message and was ended"
            return Broken(ErrorInfo(code="engine_error", message=message, retryable=True))
        except OSError as error:
            raise EOFError from error
        return report

    def kill(self) -> str:
        """End the process at once if it still runs; how it ended, as a sentence's end.

        One that sleeps in a call to its device's driver may stay ``alive``. Any number of threads may call it.
        """
        if self._process.poll() is None:
            self._process.kill()
        try:
            code = self._process.wait(KILL_WAIT_S)
        except subprocess.TimeoutExpired:
            return f"does not end, though it was killed {KILL_WAIT_S:g} s ago"
        finally:
            with self._closing:  # two closes of one descriptor could meet a third party's
                self._pipe.close()
        return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
