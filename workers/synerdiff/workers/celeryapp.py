"""The Celery side of a worker: its app, the one task, and what starts and stops with it."""

from __future__ import annotations

from typing import Any

from celery import Celery, Task, signals

from synerdiff.dispatch import GENERATE, Hints, celery_app, queue, queue_name
from synerdiff.ledger import sentinel_address
from synerdiff.protocol import pool_of
from synerdiff.protocol.errors import JobFailed
from synerdiff.settings import Settings
from synerdiff.telemetry import configure_logging, get_logger
from synerdiff.workers.broker import VETTED
from synerdiff.workers.identity import incarnation
from synerdiff.workers.messages import EngineSpec
from synerdiff.workers.step import Consuming, EngineStep, Host
from synerdiff.workers.taskevents import StepEvents, conclude
from synerdiff.workers.worker import engine_spec

log = get_logger(__name__)


def build_app(settings: Settings, spec: EngineSpec | None = None) -> Celery:
    """The Celery app of a worker with these settings; ``spec`` overrides its engine (tests).

    Pool, concurrency and queue come from the settings; ``celery worker`` options win over them.
    """
    app = celery_app(settings.redis_url)
    pool = pool_of(settings.model)
    name = incarnation(settings.worker_name)
    node = _NodeName(name)
    told = StepEvents(app, node)
    host = Host(settings, name, spec or engine_spec(settings), _HintSender(app, pool), told)
    app.conf.update(
        broker_transport="sentinel" if sentinel_address(settings.redis_url) else VETTED,
        worker_consumer="synerdiff.workers.consumer:Consumer",
        worker_pool="threads",
        worker_concurrency=settings.capacity,
        worker_disable_prefetch=True,
        worker_send_task_events=True,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        task_queues=[queue(queue_name(pool))],
        task_default_queue=queue_name(pool),
    )
    _register_task(app, host)
    app.steps["worker"].add(EngineStep.of(host))
    app.steps["consumer"].add(Consuming.of(host))
    signals.setup_logging.connect(_Logging(settings), weak=False, dispatch_uid="synerdiff.logging")
    signals.celeryd_init.connect(node, weak=False, dispatch_uid="synerdiff.node")
    return app


class _HintSender:
    """Sends hints; one that cannot be sent is sent again by the reconciler, so it is only worth a line."""

    def __init__(self, app: Celery, pool: str) -> None:
        self._hints = Hints(app)
        self._pool = pool

    def __call__(self, job_ids: tuple[str, ...]) -> None:
        failed = self._hints.send(self._pool, job_ids) if job_ids else ()
        if failed:
            log.warning("hints not sent", jobs=len(failed))


class _Logging:
    """Keeps Celery from setting up logging of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __call__(self, **_: Any) -> None:
        configure_logging(self._settings.log_level, self._settings.log_format)


class _NodeName:
    """Gives the Celery node the worker's own name, unless ``-n`` gave it one: two on a host must not share it."""

    def __init__(self, name: str) -> None:
        self.given = f"celery@{name}"

    def __str__(self) -> str:
        return self.given

    def __call__(self, instance: Any = None, **_: Any) -> None:
        from celery.utils.nodenames import default_nodename

        if instance is not None and instance.hostname == default_nodename(None):
            instance.hostname = self.given
        elif instance is not None:
            self.given = instance.hostname


def _register_task(app: Celery, host: Host) -> None:
    @app.task(name=GENERATE, bind=True, ignore_result=True, acks_late=False, throws=(JobFailed,))  # type: ignore[untyped-decorator]
    def generate(self: Task, job_id: str) -> str:
        """Follow a hint: claim the job it names and see it through."""
        return conclude(self, host.follow(job_id))
