"""How a GPU worker starts and stops inside a Celery worker, and what signals do."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from celery import bootsteps
from celery.worker import state
from prometheus_client import CollectorRegistry

from synerdiff.protocol.errors import SynerDiffError
from synerdiff.settings import Settings
from synerdiff.telemetry import get_logger
from synerdiff.telemetry.exposition import OK, Exposition, registry_of
from synerdiff.workers.broker import on_malformed
from synerdiff.workers.deadletters import DeadLetters
from synerdiff.workers.messages import EngineSpec
from synerdiff.workers.overdue import Overdue, briefly
from synerdiff.workers.reports import Tell
from synerdiff.workers.runner import HintSender, Outcome
from synerdiff.workers.worker import GpuWorker

log = get_logger(__name__)

EXIT_CANNOT_START = 2
EXIT_FAILING = 3
EXIT_FORCED = 128 + signal.SIGTERM
OVERDUE_S = 15.0  # past the grace: above what handing back takes; an engine stuck in its driver is left behind


class Host:
    """The GPU worker of this process, once it is launched."""

    def __init__(
        self, settings: Settings, name: str, spec: EngineSpec, send_hints: HintSender, tell_tasks: Tell
    ) -> None:
        self.name = name
        self.worker: GpuWorker | None = None
        self.consuming = False
        self.grace_s = settings.grace_s
        self._settings = settings
        self._spec = spec
        self._send_hints = send_hints
        self._tell_tasks = tell_tasks

    def expose(self) -> None:
        """Serve health and metrics, from before the model is loaded. Raises :class:`SettingsError`."""
        exposition = Exposition(self._metrics, live=self._live, ready=self._ready)
        exposition.start(self._settings.metrics_host, self._settings.metrics_port)

    def _metrics(self) -> CollectorRegistry:
        return registry_of() if self.worker is None else self.worker.metrics.registry

    def _live(self) -> dict[str, str]:
        return {} if self.worker is None else self.worker.live()

    def _ready(self) -> dict[str, str]:
        if self.worker is None:
            return {"engine": "the model is being loaded"}
        return {**self.worker.ready(), "consumer": OK if self.consuming else "Celery has no connection to its broker"}

    def launch(self, capacity: int) -> None:
        """Launch it (see :meth:`GpuWorker.launch`)."""
        self.worker = GpuWorker.launch(
            self._settings,
            name=self.name,
            capacity=capacity,
            spec=self._spec,
            send_hints=self._send_hints,
            on_failing=_leave_failing,
            tell_tasks=self._tell_tasks,
        )
        on_malformed(DeadLetters(self.worker.ledger))

    def follow(self, job_id: str) -> Outcome:
        """Follow one hint."""
        if self.worker is None:
            return Outcome("refused", "this worker is starting")
        return self.worker.follow(job_id)


def _leave_failing() -> None:
    state.should_stop = EXIT_FAILING


class EngineStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Starts before the consumer, so that nothing is fetched too early, and stops after it and before the pool."""

    requires = ("celery.worker.components:Pool",)
    host: Host

    @classmethod
    def of(cls, host: Host) -> type[EngineStep]:
        """A step for this host: Celery makes its steps itself, from classes."""
        return type("EngineStep", (cls,), {"host": host})

    def start(self, parent: Any) -> None:
        """Launch; a sentence and an exit code if something is missing."""
        self._departure = Departure(self.host)
        self._departure.install()
        try:
            self.host.expose()
            self.host.launch(parent.concurrency)
        except SynerDiffError as error:
            log.critical("cannot start", reason=error.message, code=error.code)
            raise SystemExit(EXIT_CANNOT_START) from None

    def stop(self, parent: Any) -> None:
        """Finish or hand back what is held, then stop the engine; Celery's pool has nothing to wait for then."""
        self._departure.begin()
        if self.host.worker is not None:
            self.host.worker.drain()
        self._departure.join()
        dispatcher = getattr(parent.consumer, "event_dispatcher", None)
        if dispatcher is not None:
            _flush(dispatcher.flush)

    terminate = stop


class Consuming(bootsteps.StartStopStep):  # type: ignore[misc]
    """Notes whether Celery consumes: it stops and starts its consumer's steps around a lost broker."""

    requires = ("celery.worker.consumer:Tasks",)
    host: Host

    @classmethod
    def of(cls, host: Host) -> type[Consuming]:
        """A step for this host."""
        return type("Consuming", (cls,), {"host": host})

    def start(self, _: Any) -> None:
        """The queue is being read."""
        self.host.consuming = True

    def stop(self, _: Any) -> None:
        """It is not."""
        self.host.consuming = False

    shutdown = stop


def _flush(flush: Callable[[], None]) -> None:
    """Send the last task events, which Celery buffers for an event loop that has ended by now."""
    try:
        flush()
    except OSError as error:
        log.debug("last events not sent", reason=type(error).__name__)


class Departure:
    """The first SIGTERM or SIGINT lets jobs finish within the grace; the second one leaves at once.

    What takes ``OVERDUE_S`` longer than that is cut off: every call to a Redis that does not answer takes seconds.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._overdue = Overdue(self._cut_off)
        self._asked = False
        self._leaving: threading.Thread | None = None

    def install(self) -> None:
        """Take the signals over from Celery, whose warm shutdown waits for tasks for ever."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._overdue.start()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _: Any) -> None:
        if self._asked:
            # Not in the handler itself: it may have interrupted a thread that holds a lock.
            if self._leaving is None:
                self._overdue.within(OVERDUE_S)
                self._leaving = threading.Thread(target=self._leave_now, name="leave-now", daemon=True)
                self._leaving.start()
            return
        self._asked = True
        worker = self._host.worker
        if worker is None:
            raise SystemExit(os.EX_OK)
        self.begin()
        worker.gate.close_soon()
        state.should_stop = os.EX_OK

    def begin(self) -> None:
        """The worker leaves, for whatever reason; the first time counts."""
        self._overdue.within(self._host.grace_s + OVERDUE_S)

    def join(self) -> None:
        """Let a departure at once end the process: the drain that it cut short would exit as if it had finished."""
        if self._leaving is not None:
            self._leaving.join()

    def _cut_off(self) -> None:
        briefly(lambda: log.warning("did not leave in time; what is held is left to its leases"))
        os._exit(EXIT_FORCED)

    def _leave_now(self) -> None:
        log.warning("leaving at once")
        if self._host.worker is not None:
            self._host.worker.abandon()
        os._exit(EXIT_FORCED)
