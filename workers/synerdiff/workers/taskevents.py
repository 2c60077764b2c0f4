"""What Flower shows of a task: Celery's own events, and those that say how a hint ended otherwise.

A job may get several hints under one task id, some of them to workers that find it taken. Left alone, Celery would
call each of these a success, and a running job would look finished.
"""

from __future__ import annotations

from typing import Any

from celery import Task
from celery.exceptions import Ignore
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from synerdiff.protocol.errors import JobFailed
from synerdiff.telemetry import get_logger
from synerdiff.workers.runner import Outcome

log = get_logger(__name__)

AGAIN = frozenset({"handed_back", "crashed", "stalled"})  # Flower: RETRY
ENDED = frozenset({"cancelled", "expired"})  # Flower: REVOKED
NOT_OURS = frozenset({"refused", "lost"})  # what the worker that has the job says stands
_UNREACHABLE = (OperationalError, RedisError, OSError)


def tell_progress(task: Task, step: int, steps: int) -> None:
    """Show ``step`` of ``steps`` as the state ``PROGRESS`` and, while there is no other, as the result."""
    _send(task, "task-progress", step=step, steps=steps, result=f"step {step} of {steps}")


def conclude(task: Task, outcome: Outcome) -> str:
    """The task's result where the job succeeded; else end the task in the way that shows what became of the job.

    Raises :class:`JobFailed` (Flower: FAILURE) or ``Ignore``.
    """
    if outcome.error is not None:
        raise JobFailed(f"{outcome.error.code}: {outcome.error.message}")
    if outcome.state in AGAIN:
        _send(task, "task-retried", exception=outcome.reason)
    elif outcome.state in ENDED:
        # A state of its own, as PROGRESS is, outranks REVOKED in Celery's order of events; after RETRY all are taken.
        _send(task, "task-retried", exception=outcome.state)
        _send(task, "task-revoked", terminated=True, signum=None, expired=outcome.state == "expired")
    if outcome.state in AGAIN | ENDED | NOT_OURS:
        raise Ignore(outcome.reason or outcome.state)
    return f"{outcome.images} image{'s' * (outcome.images != 1)}"


def _send(task: Task, kind: str, **fields: Any) -> None:
    """Tell Flower; news that it misses is not worth a retry."""
    try:
        task.send_event(kind, retry=False, **fields)
    except _UNREACHABLE as error:
        log.debug("event not sent", kind=kind, reason=type(error).__name__)
