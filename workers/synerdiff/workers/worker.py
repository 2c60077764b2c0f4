"""A GPU worker without Celery: engine, leases, uploads, heartbeat and plans, and how they start and stop."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import Literal

from synerdiff.ledger import Ledger, LedgerConfig, WorkerReport
from synerdiff.protocol import pool_of
from synerdiff.protocol.errors import LedgerUnavailable, SynerDiffError
from synerdiff.settings import Settings
from synerdiff.settings.settings import SHIPPED_MODEL
from synerdiff.storage import Store, StoreConfig
from synerdiff.telemetry import get_logger
from synerdiff.telemetry.exposition import OK
from synerdiff.telemetry.tracing import tracing_of
from synerdiff.workers.bridge import Bridge, BridgeConfig
from synerdiff.workers.discards import SWEEP_S, Discards
from synerdiff.workers.gate import Gate
from synerdiff.workers.leases import Leases
from synerdiff.workers.makeway import MakeWay
from synerdiff.workers.messages import EngineSpec
from synerdiff.workers.metrics import WorkerMetrics
from synerdiff.workers.overdue import briefly
from synerdiff.workers.periodic import Periodic
from synerdiff.workers.plans import PlanFollower, Standing
from synerdiff.workers.receipts import Maker
from synerdiff.workers.reports import StepReports, Tell, told_to
from synerdiff.workers.revocations import Revocations
from synerdiff.workers.runner import HintSender, Outcome, Runner, Serving
from synerdiff.workers.runs import GiveBack, Phase
from synerdiff.workers.traces import Traces
from synerdiff.workers.uploads import Uploads

log = get_logger(__name__)

State = Literal["ready", "draining", "failing"]
BEAT_S = 1.0
RENEWALS = 8  # in a lease: a Redis that was away for 5 s, which nobody takes for a gap, is asked again in time
VITAL = ("leases", "heartbeat")  # others may wait for an object store that does not answer
STUCK_S = 120.0  # above what a call to a Redis that does not answer may take
RETURN_S = 5.0  # what handing back takes at most while the ledger answers


def engine_spec(settings: Settings) -> EngineSpec:
    """What the engine process is told of the settings."""
    return EngineSpec(
        model=settings.model,
        model_path=settings.model_path,
        model_revision=settings.model_revision,
        device=settings.device,
        dtype=settings.dtype,
        threads=settings.threads,
        executor=settings.executor,
        capacity=settings.capacity,
        max_rows=settings.max_rows,
        keep_steps=settings.checkpoint_steps,
        keep_s=settings.checkpoint_s,
        keep_bytes=settings.checkpoint_max_bytes,
        long_prompts=settings.long_prompts,
        prompt_weights=settings.prompt_weights,
        model_hash=settings.model_hash,
        cache_dir=settings.cache_dir,
        unet_rows=settings.unet_rows,
        preview_s=settings.preview_s,
        log_level=settings.log_level,
        log_format=settings.log_format,
    )


def warn_of_acl(ledger: Ledger) -> None:
    """Say so where an ACL file older than this worker keeps it from letting idempotency keys expire."""
    if not ledger.may_end_keys():
        log.warning(
            "idempotency keys of the jobs that end here stay in Redis: its ACL file is older than this worker; "
            "write it again with `synerdiff acl` and load it"
        )


def warn_of_model(settings: Settings) -> None:
    """Say so where jobs for another model would get the shipped one's images."""
    if settings.model_path is None and settings.model != SHIPPED_MODEL:
        log.warning(
            f"jobs for this model are served by the shipped checkpoint, {SHIPPED_MODEL}; "
            "set SYNERDIFF_MODEL_PATH to its own weights",
            model=settings.model,
        )


class GpuWorker:
    """One incarnation of a worker; ``capacity`` jobs at a time."""

    def __init__(
        self,
        settings: Settings,
        *,
        name: str,
        capacity: int,
        ledger: Ledger,
        store: Store,
        spec: EngineSpec,
        send_hints: HintSender,
        on_failing: Callable[[], None],
        tell_tasks: Tell = lambda reports: None,
    ) -> None:
        self.name = name
        self.pool = pool_of(settings.model)
        self.ledger = ledger
        self.gate = Gate(lambda: self._uploads.has_room)
        self.metrics = WorkerMetrics()
        self._traces = Traces(tracing_of("synerdiff-worker", settings.otel_endpoint))
        self._capacity = capacity
        self._settings = settings
        self._state: State = "ready"
        self._send_hints = send_hints
        self._on_failing = on_failing
        self._started_at = time.time()
        self._heard_at: float | None = None
        self._reports = StepReports(told_to(ledger, tell_tasks), settings.progress_s)
        self._bridge = Bridge(
            spec,
            BridgeConfig(hang_s=settings.hang_s),
            on_change=self.gate.engine,
            on_failing=self._fail,
            on_step=self._reports.note,
            metrics=self.metrics,
            traces=self._traces,
        )
        self._uploads = Uploads(
            store,
            settings.s3_prefix,
            threads=settings.upload_threads,
            limit_bytes=settings.upload_queue_bytes,
            on_room=self.gate.poke,
            metrics=self.metrics,
            traces=self._traces,
        )
        self._leases = Leases(ledger, self._bridge, worker=name, lease_s=settings.lease_s)
        self._discards = Discards(ledger, store, pool=self.pool, prefix=settings.s3_prefix)
        self._plans: PlanFollower | None = None
        self._runner: Runner | None = None
        self._periodic: list[Periodic] = []

    @classmethod
    def launch(
        cls,
        settings: Settings,
        *,
        name: str,
        capacity: int,
        spec: EngineSpec,
        send_hints: HintSender,
        on_failing: Callable[[], None],
        tell_tasks: Tell = lambda reports: None,
    ) -> GpuWorker:
        """Check the dependencies, load the model, register: from then on jobs are released for this worker.

        ``on_failing`` is called when the device fails again and again, ``tell_tasks`` hears how far jobs are.
        Raises :class:`SynerDiffError` with one sentence when something is missing; nothing is left running then.
        """
        ledger = Ledger.connect(settings.redis_url, LedgerConfig.of(settings))
        ledger.check_server(allow_unsafe=settings.allow_unsafe_redis)
        warn_of_acl(ledger)
        warn_of_model(settings)
        store = Store(StoreConfig.of(settings))
        store.check()
        worker = cls(
            settings,
            name=name,
            capacity=capacity,
            ledger=ledger,
            store=store,
            spec=spec,
            send_hints=send_hints,
            on_failing=on_failing,
            tell_tasks=tell_tasks,
        )
        try:
            worker._start()
        except BaseException:
            worker.kill()
            raise
        return worker

    def _start(self) -> None:
        ready = self._bridge.start()
        self._uploads.maker = Maker(self.name, ready.entry.model_hash, ready.versions, ready.dtype)
        self._runner = Runner(
            Serving(
                self.name,
                ready.entry,
                self._settings.limits,
                self._settings.lease_s,
                self._settings.checkpoint_ttl_s,
                self._settings.progress_s,
            ),
            ledger=self.ledger,
            bridge=self._bridge,
            uploads=self._uploads,
            leases=self._leases,
            gate=self.gate,
            send_hints=self._send_hints,
            reports=self._reports,
            metrics=self.metrics,
            traces=self._traces,
        )
        self._plans = PlanFollower(self.ledger, self._bridge, pool=self.pool)
        self.metrics.follow(
            held=lambda: float(len(self._leases)),
            queued=lambda: float(self._uploads.waiting_bytes),
        )
        self.ledger.put_model(ready.entry)
        self._reports.start()
        self._begin("leases", self._settings.lease_s / RENEWALS, self._leases.renew)
        self._begin("plans", BEAT_S, self._plans.refresh)
        self._begin("heartbeat", BEAT_S, self._beat)
        self._begin("discards", SWEEP_S, self._discards.sweep)
        make_way = MakeWay(
            self.ledger,
            self._leases,
            pool=self.pool,
            worker=self.name,
            capacity=self._capacity,
            send_hints=self._send_hints,
            leaving=lambda: self.gate.closed,
            ready=lambda: self._bridge.pid is not None,
        )
        self._begin("make-way", BEAT_S, make_way.look)
        self._begin("revocations", 0.05, Revocations(self.ledger, self._leases, pool=self.pool).listen)

    def follow(self, job_id: str) -> Outcome:
        """Follow one hint (see :class:`Runner`)."""
        if self._runner is None:
            return Outcome("refused", "this worker is starting")
        return self._runner.follow(job_id)

    def drain(self) -> None:
        """Claim nothing more, finish what fits in the grace, hand the rest back, deregister, stop the engine."""
        self.gate.close()
        if self._state == "ready":
            self._state = "draining"
        deadline = time.monotonic() + self._settings.grace_s
        log.info("worker draining", jobs=len(self._leases), grace_s=self._settings.grace_s)
        briefly(self._say_state)
        for run in self._leases.held:
            if run.phase is Phase.WAITING:
                run.tell(GiveBack("the worker is leaving"))  # nothing is lost, and another worker starts it now
        self._leases.wait_empty(max(0.0, deadline - time.monotonic()))
        self._leave(RETURN_S)

    def abandon(self) -> None:
        """Hand everything back and leave at once: what the ledger does not hear now, its lapsing leases tell it."""
        self.gate.close()
        self._leave(RETURN_S / 2, at_once=True)

    def kill(self) -> None:
        """End the engine process and every thread, telling nobody."""
        for periodic in self._periodic:
            periodic.stop(timeout_s=0.0)
        self._reports.stop()
        self._uploads.stop()
        self._bridge.stop()

    def _leave(self, timeout_s: float, *, at_once: bool = False) -> None:
        for run in self._leases.held:
            run.tell(GiveBack("the worker is leaving", at_once=at_once))
        if not self._leases.wait_empty(timeout_s) and self._runner is not None:
            log.warning("jobs left to their leases", jobs=len(self._leases))
        if self._runner is not None:
            self._runner.abandoned.set()
        for run in self._leases.held:
            run.tell(GiveBack("the worker is leaving", at_once=True))
        self.gate.wait_empty(1.0)
        self.kill()
        briefly(self._deregister)

    def _deregister(self) -> None:
        try:
            self.ledger.deregister(self.name)
        except LedgerUnavailable as error:
            log.warning("not deregistered; the registration expires by itself", reason=error.message)

    def _begin(self, name: str, interval_s: float, action: Callable[[], None]) -> None:
        periodic = Periodic(name, interval_s, action)
        self._periodic.append(periodic)
        periodic.start()

    def _beat(self) -> None:
        report = self.report()
        self.metrics.plan(report)
        self._send_hints(self.ledger.heartbeat(report, self._settings.worker_ttl_s))
        self._heard_at = time.monotonic()
        self.metrics.beat()

    def _say_state(self) -> None:
        try:
            self._beat()
        except SynerDiffError as error:
            log.debug("state not told", reason=error.message)

    def _fail(self, reason: str) -> None:
        log.critical("worker gives its device up", reason=reason)
        self._state = "failing"
        self.gate.close()
        briefly(self._say_state)
        self._on_failing()

    def live(self) -> dict[str, str]:
        """Whether the threads that keep this worker's word still turn; each ``ok`` or why not."""
        silent = {each.name: each.silence_s for each in self._periodic if each.name in VITAL}
        return {name: OK if age_s < STUCK_S else f"silent for {age_s:.0f} s" for name, age_s in silent.items()}

    def ready(self) -> dict[str, str]:
        """Whether this worker takes jobs: model loaded, heard by the ledger, not leaving; each ``ok`` or why not."""
        heard = self._heard_at is not None and time.monotonic() - self._heard_at < self._settings.worker_ttl_s
        return {
            "engine": OK if self._bridge.pid is not None else "the engine is being started",
            "ledger": OK if heard else "the last heartbeat is too old",
            "state": OK if self._state == "ready" and not self.gate.closed else "the worker is leaving",
        }

    def report(self) -> WorkerReport:
        """What this worker says of itself."""
        ready, profile = self._bridge.ready, self._bridge.profile
        plan = self._plans.standing if self._plans else Standing()
        return WorkerReport(
            name=self.name,
            pool=self.pool,
            host=socket.gethostname(),
            pid=os.getpid(),
            capacity=self._capacity,
            running=len(self._leases),
            profile_id=profile.profile_id if profile else "",
            plan_version=plan.version,
            plan_source=plan.source,
            plan_theta=plan.theta,
            plan_age_s=plan.age_s,
            device=ready.device if ready else "",
            model_hash=ready.entry.model_hash if ready else "",
            state=self._state,
            slot={**self._bridge.slot, "engine_restarts": self._bridge.restarts},
            slots=self.metrics.recent(),
            held=[left for run in self._leases.held if (left := run.left()) is not None],
            store_s=self.metrics.store_s,
            started_at=self._started_at,
        )
