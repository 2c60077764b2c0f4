"""The engine process: one model on one device, fed through a pipe.

``python -m synerdiff.workers.child FD`` is started by the bridge with the pipe's file descriptor. It shares
no interpreter with Celery, so neither encoding nor consuming competes with kernel launches, and a crash of
the device takes nothing else with it. It ends when its parent does, whatever way that ends.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NoReturn, Protocol

from synerdiff.engine.types import Event, Parted, Request
from synerdiff.protocol import ErrorInfo, SynerDiffError
from synerdiff.protocol.errors import ModelError
from synerdiff.telemetry import configure_logging, get_logger
from synerdiff.workers.messages import (
    Admit,
    Broken,
    Cancel,
    Command,
    EngineSpec,
    Part,
    Profiled,
    Ready,
    SetPlan,
    Slot,
)

log = get_logger(__name__)

REST_S = 2.0  # how long nothing must have come before chores are done

_PR_SET_PDEATHSIG = 1


class StepEngine(Protocol):
    """What the process needs of an engine; ``follow`` takes a plan, and may refuse it.

    While it is idle and ``has_chore``, ``do_chore`` does a short piece of work that no job waits for.
    """

    ready: Ready

    @property
    def idle(self) -> bool: ...
    def admit(self, request: Request, kept: bytes | None) -> None: ...
    def cancel(self, job_id: str) -> None: ...
    def part(self, job_id: str) -> Parted: ...
    def follow(self, plan: SetPlan) -> None: ...
    @property
    def has_chore(self) -> bool: ...
    def do_chore(self) -> Profiled | None: ...
    def step(self) -> list[Event]: ...


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends (Linux; elsewhere the closed pipe ends it)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _load(spec: EngineSpec) -> StepEngine:
    module, name = spec.factory.split(":")
    build: Callable[[EngineSpec], StepEngine] = getattr(importlib.import_module(module), name)
    return build(spec)


def _error_info(error: BaseException) -> ErrorInfo:
    if isinstance(error, SynerDiffError):
        return error.info
    return ErrorInfo(code="engine_error", message=f"the engine stopped: {type(error).__name__}", retryable=True)


def _obey(engine: StepEngine, command: Command, pipe: Connection) -> None:
    """Carry out one command."""
    match command:
        case Admit(request, kept):
            engine.admit(request, kept)
        case Part(job_id):
            pipe.send(Slot([engine.part(job_id)]))
        case Cancel(job_id):
            engine.cancel(job_id)
        case SetPlan() as plan:
            _follow(engine, plan)


def _follow(engine: StepEngine, plan: SetPlan) -> None:
    """Switch the plan; a plan that cannot be used never stops a worker, the one before stays."""
    try:
        engine.follow(plan)
    except (SynerDiffError, ValueError, KeyError, TypeError) as error:
        log.warning("plan not used", plan_version=plan.head.get("version"), reason=str(error))


def serve(pipe: Connection, engine: StepEngine) -> NoReturn:
    """Drain commands, step, send what happened; wait for commands while idle.

    Raises :class:`EOFError` or :class:`OSError` once the pipe is closed.
    """
    while True:
        while engine.idle or pipe.poll(0):
            _do_chores(pipe, engine)
            _obey(engine, pipe.recv(), pipe)
        pipe.send(Slot(engine.step()))


def _do_chores(pipe: Connection, engine: StepEngine) -> None:
    """Use a quiet time, until a command comes. A job that comes waits for the piece under way at most."""
    rest_s = REST_S
    while engine.idle and not pipe.poll(rest_s):
        rest_s = 0.0 if engine.has_chore else REST_S  # a chore may also be asked for now and due later
        done = engine.do_chore() if engine.has_chore else None
        if done is not None:
            pipe.send(done)


def _run(pipe: Connection, spec: EngineSpec) -> int:
    try:
        engine = _load(spec)
        pipe.send(engine.ready)
        serve(pipe, engine)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return 0  # the parent is gone
    except ModelError as error:  # the operator's to mend: the sentence says all
        pipe.send(Broken(_error_info(error)))
        return 1
    except BaseException as error:
        # SystemExit and MemoryError of a step too: the parent decides what becomes of the jobs.
        log.exception("engine process ends", reason=type(error).__name__)
        pipe.send(Broken(_error_info(error)))
        return 1
    return 0


def main(arguments: list[str]) -> int:
    """Serve the pipe whose file descriptor and parent process are the two arguments."""
    descriptor, parent = (int(argument) for argument in arguments)
    die_with_parent(parent)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent decides when the engine ends
    pipe: Connection[Any, Any] = Connection(descriptor)
    spec: EngineSpec = pipe.recv()
    configure_logging(spec.log_level, spec.log_format)
    return _run(pipe, spec)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
