"""The scheduler service: a tick a second for every pool, and a thread that takes submissions."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from synerdiff.dispatch import Hints, celery_app
from synerdiff.ledger import LeaderToken, Ledger, LedgerConfig, PoolLoad, open_client
from synerdiff.policy.allowance import SkipFrom
from synerdiff.protocol.errors import LedgerUnavailable, SynerDiffError
from synerdiff.scheduler.leader import Leadership
from synerdiff.scheduler.metrics import SchedulerMetrics
from synerdiff.scheduler.plans import PlanWriter
from synerdiff.scheduler.reconcile import reconcile
from synerdiff.scheduler.submissions import Submissions
from synerdiff.settings import Settings
from synerdiff.telemetry import configure_logging, get_logger
from synerdiff.telemetry.exposition import Exposition

log = get_logger(__name__)

LONGEST_WAIT_S = 10.0
STOP_S = 5.0


class Scheduler:
    """What one tick does, and what is kept between ticks."""

    def __init__(
        self,
        ledger: Ledger,
        hints: Hints,
        tick_s: float,
        clock: Callable[[], float] = time.monotonic,
        metrics: SchedulerMetrics | None = None,
        skip_from: SkipFrom = "start",
    ) -> None:
        self._ledger = ledger
        self.metrics = metrics or SchedulerMetrics(ledger, tick_s)
        self._hints = hints
        self._leadership = Leadership(ledger, tick_s)
        self._plans = PlanWriter(ledger, skip_from)
        self._tick_s = tick_s
        self._clock = clock
        self._led_at: float | None = None
        self._unplanned: set[str] = set()  # pools whose last planning failed, said once
        self._unreaped: set[str] = set()  # and those whose last reaping did

    def tick(self) -> bool:
        """Reap, re-send hints and plan, for every pool; False while another scheduler leads.

        Raises :class:`LedgerUnavailable`.
        """
        leader = self._leadership.hold()
        if leader is None:
            self._plans.forget()
            self.metrics.planned(self._plans.heads)
            self._unreaped.clear()
            self.metrics.unreaped(0)
            self._led_at = None
            return False
        now = self._clock()
        elapsed_s = self._tick_s if self._led_at is None else now - self._led_at
        self._led_at = now
        pools = self._ledger.pools()
        for pool in pools:
            load = self._reconcile(pool)
            if load is not None:
                self._plan(pool, load, leader, elapsed_s)
        self.metrics.planned(self._plans.heads)
        self._unreaped.intersection_update(pools)
        self.metrics.unreaped(len(self._unreaped))
        return True

    def _reconcile(self, pool: str) -> PoolLoad | None:
        """Reap one pool and send its hints: where that fails, the other pools are reaped all the same."""
        try:
            reaped, sent, load = reconcile(self._ledger, self._hints, pool)
        except LedgerUnavailable:
            raise
        except Exception:  # a key that somebody changed by hand, say
            if pool not in self._unreaped:
                log.exception("pool not reaped", pool=pool)
            self._unreaped.add(pool)
            return None
        self._unreaped.discard(pool)
        self.metrics.reconciled(pool, reaped, sent)
        return load

    def _plan(self, pool: str, load: PoolLoad, leader: LeaderToken, elapsed_s: float) -> None:
        """Plan for one pool: where that fails, its workers keep the plan they have, and the others get theirs."""
        try:
            self._plans.write(pool, load, leader, elapsed_s)
        except LedgerUnavailable:
            raise
        except Exception:  # a profile comes from outside, and whatever is wrong with it must not stop the reaping
            if pool not in self._unplanned:
                log.exception("no plan could be made", pool=pool)
            self._unplanned.add(pool)
        else:
            self._unplanned.discard(pool)


class Service:
    """The loop around the ticks: waits out a Redis that is away, saying so once."""

    def __init__(self, scheduler: Scheduler, tick_s: float, stop: threading.Event) -> None:
        self._scheduler = scheduler
        self._tick_s = tick_s
        self._stop = stop
        self._failures = 0

    def run(self) -> None:
        """Tick until stopped."""
        while not self._stop.is_set():
            started = time.monotonic()
            self._stop.wait(max(self._tick() - (time.monotonic() - started), 0.0))

    def _tick(self) -> float:
        """One tick; returns the seconds from its start to the next."""
        began = time.monotonic()
        metrics = self._scheduler.metrics
        try:
            leads = self._scheduler.tick()
            metrics.ticked(time.monotonic() - began, leads=leads)
        except LedgerUnavailable as error:
            metrics.missed(error.message)
            if not self._failures:
                log.error("the scheduler waits for Redis", reason=error.message)
            self._failures += 1
            return float(min(self._tick_s * 2 ** min(self._failures, 8), LONGEST_WAIT_S))
        if self._failures:
            log.info("Redis is back", missed_ticks=self._failures)
        self._failures = 0
        return self._tick_s


def run_scheduler(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; the process's exit code: 0 after a stop, 2 when it cannot start."""
    configure_logging(settings.log_level, settings.log_format)
    try:
        ledger = Ledger.connect(settings.redis_url, LedgerConfig.of(settings))
        ledger.check_server(settings.allow_unsafe_redis)
        metrics = SchedulerMetrics(ledger, settings.tick_s)
        exposition = Exposition(lambda: metrics.registry, live=metrics.live, ready=metrics.ready)
        exposition.start(settings.metrics_host, settings.metrics_port)
    except SynerDiffError as error:
        log.error("the scheduler cannot start", reason=error.message)
        return 2
    stop = threading.Event()
    _stop_on_signals(stop)
    hints = Hints(celery_app(settings.redis_url))
    thread = _submissions(settings, ledger, hints, stop, metrics)
    log.info("scheduler started", tick_s=settings.tick_s)
    scheduler = Scheduler(ledger, hints, settings.tick_s, metrics=metrics, skip_from=settings.skip_from)
    Service(scheduler, settings.tick_s, stop).run()
    exposition.stop()
    thread.join(STOP_S)
    hints.close()
    ledger.close()
    log.info("scheduler stopped")
    return 0


def _submissions(
    settings: Settings, ledger: Ledger, hints: Hints, stop: threading.Event, metrics: SchedulerMetrics
) -> threading.Thread:
    client = open_client(settings.redis_url, socket_connect_timeout=3.0, socket_timeout=10.0, health_check_interval=15)
    consumer = Submissions(client, ledger, hints, model=settings.model, limits=settings.limits, stop=stop)
    thread = threading.Thread(target=consumer.run, name="submissions", daemon=True)
    thread.start()
    metrics.follow(lambda: consumer.silence_s if thread.is_alive() else None)
    return thread


def _stop_on_signals(stop: threading.Event) -> None:
    def handle(number: int, _frame: FrameType | None) -> None:
        log.info("stopping", signal=signal.Signals(number).name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
