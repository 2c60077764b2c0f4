"""What Flower shows of a task: Celery's own events, and those that say how a hint ended otherwise.

A job may get several hints under one task id, some of them to workers that find it taken. Left alone, Celery would
call each of these a success, and a running job would look finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celery import Celery, Task
from celery.exceptions import Ignore
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from synerdiff.protocol.errors import JobFailed
from synerdiff.telemetry import get_logger
from synerdiff.workers.reports import Report
from synerdiff.workers.runner import Outcome

log = get_logger(__name__)

AGAIN = frozenset({"handed_back", "crashed", "stalled"})  # Flower: RETRY
ENDED = frozenset({"cancelled", "expired"})  # Flower: REVOKED
NOT_OURS = frozenset({"refused", "lost"})  # what the worker that has the job says stands
_UNREACHABLE = (OperationalError, RedisError, OSError)


class StepEvents:
    """Shows how far jobs are as the state ``PROGRESS`` and, while there is no other, as the result.

    The events of many tasks go out as one message, as Celery's own do; a task's id is its job's.
    """

    def __init__(self, app: Celery, node: object) -> None:
        self._app = app
        self._node = node  # its text is the Celery node's name

    def __call__(self, reports: Sequence[Report]) -> None:
        """Tell Flower; news that it misses is not worth a retry."""
        try:
            with self._app.amqp.producer_pool.acquire(block=True) as producer:
                self._publish(producer, reports)
        except _UNREACHABLE as error:
            log.debug("steps not sent", reason=type(error).__name__)

    def _publish(self, producer: Any, reports: Sequence[Report]) -> None:
        with self._app.events.Dispatcher(
            producer.connection,
            str(self._node),
            channel=producer.channel,
            buffer_while_offline=False,
            buffer_group=frozenset({"task"}),
        ) as dispatcher:
            for report in reports:
                step, steps = report.step, report.steps
                shown = f"step {step} of {steps}"
                dispatcher.send("task-progress", uuid=report.run.id, step=step, steps=steps, result=shown)
            dispatcher.flush(errors=False)


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
