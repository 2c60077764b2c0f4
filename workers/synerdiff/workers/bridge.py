"""The engine as the worker sees it: always one process, started again when it crashes or hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from synerdiff.engine.types import Event, Request, SlotReport
from synerdiff.protocol.errors import EngineError, ModelError
from synerdiff.telemetry import get_logger
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
from synerdiff.workers.metrics import WorkerMetrics
from synerdiff.workers.patience import Patience
from synerdiff.workers.process import EngineProcess
from synerdiff.workers.router import OnStep, Router
from synerdiff.workers.runs import Phase, Run
from synerdiff.workers.strikes import Strikes
from synerdiff.workers.traces import Traces

log = get_logger(__name__)

POLL_S = 0.25
RESTART_PAUSE_S = 0.5


@dataclass(frozen=True, slots=True)
class BridgeConfig:
    """``hang_s``: silence with work at hand after which the engine counts as hung. ``load_s``: the longest a model may
    take to load."""

    hang_s: float = 30.0
    load_s: float = 1800.0


class Bridge:
    """Keeps one engine process alive and routes jobs to it and news back.

    A thread of its own starts the process, reads from it and watches it. ``on_change`` is called when the
    engine becomes ready or is lost, ``on_failing`` once when it fails again and again, or its process does not end,
    ``on_step`` with each step of a job; it must not block.
    """

    def __init__(
        self,
        spec: EngineSpec,
        config: BridgeConfig,
        *,
        on_change: Callable[[bool], None],
        on_failing: Callable[[str], None],
        on_step: OnStep = lambda run, step, steps: None,
        metrics: WorkerMetrics | None = None,
        traces: Traces | None = None,
    ) -> None:
        self._spec = spec
        self._config = config
        self._on_change = on_change
        self._on_failing = on_failing
        self._metrics = metrics or WorkerMetrics()
        self._traces = traces or Traces()
        self._router = Router(on_step)
        self._ordering = threading.Lock()  # who hears of a job, and what the engine is told of it, change together
        self._strikes = Strikes()
        self._process: EngineProcess | None = None
        self._plan: SetPlan | None = None
        self._started = threading.Event()
        self._stopping = threading.Event()
        self._heard_at = time.monotonic()
        self._patience = Patience(config.hang_s)
        self._thread = threading.Thread(target=self._supervise, name="engine-bridge", daemon=True)
        self.ready: Ready | None = None
        self.profile: Profiled | None = None
        self._lost_because = ""
        self._undead: EngineProcess | None = None
        self.slot: dict[str, float] = {}
        self._predicted_s = self._measured_s = 0.0
        self.restarts = 0

    def start(self) -> Ready:
        """Start the first process and wait for its model. Raises :class:`ModelError` with the reason."""
        self._thread.start()
        self._started.wait()
        if self.ready is None:
            raise ModelError(self._lost_because)
        return self.ready

    def stop(self) -> None:
        """End the process at once; jobs that are still in it get no more news."""
        self._stopping.set()
        process = self._process
        if process is not None:
            process.kill()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)

    def admit(self, run: Run, request: Request, kept: bytes | None = None) -> None:
        """Hand a job to the engine, to go on from its latent checkpoint ``kept``; news of it goes to ``run``.

        Raises :class:`EngineError` when there is no engine.
        """
        process = self._process
        if process is None:
            raise EngineError("the engine is being started again")
        if not len(self._router):
            self._heard_at = time.monotonic()
        run.moved(Phase.WAITING)
        with self._ordering:
            again = self._router.add(run)
            try:
                if again:  # the engine ignores a job that it has
                    process.send(Cancel(run.id))
                process.send(Admit(request, kept))
            except EngineError:
                self._router.drop(run)
                raise

    def cancel(self, run: Run) -> None:
        """Drop a run's job, unless a newer run of it is in the engine; nothing more is heard of it."""
        with self._ordering:
            if self._router.drop(run):
                self._send(Cancel(run.id))

    def part(self, run: Run) -> bool:
        """Have the engine drop a run's job and hand out what is done of it: the last that the run hears.

        False, and nothing is asked, if its images are made already.
        """
        with self._ordering:
            here = self._router.run(run.id) is run
            if here:
                self._send(Part(run.id))
            return here

    def mourns(self, run: Run) -> bool:
        """Whether the engine was lost with a run's job in it, which is yet to be told."""
        lost = self._process is None and not self._stopping.is_set()
        return lost and self._router.run(run.id) is run

    def set_plan(self, plan: SetPlan) -> None:
        """Have the engine follow a plan; a process that is started later gets it too."""
        before = self._plan
        self._plan = replace(plan, profile=before.profile) if before and plan.profile is None else plan
        self._send(plan)

    @property
    def pid(self) -> int | None:
        """The engine process's id, while it is ready."""
        process = self._process
        return process.pid if process else None

    @property
    def silence_s(self) -> float:
        """Seconds since the engine was last heard of."""
        return time.monotonic() - self._heard_at

    @property
    def patience_s(self) -> float:
        """The silence that is borne: at least ``hang_s``, more where slots are long."""
        return self._patience.silence_s

    def _send(self, command: Command) -> None:
        """Send what a lost engine may miss."""
        process = self._process
        try:
            if process is not None:
                process.send(command)
        except EngineError:
            log.debug("engine gone", command=type(command).__name__)

    # The supervising thread

    def _supervise(self) -> None:
        while not self._stopping.is_set():
            try:
                reason = self._one_life()
            except Exception as error:
                log.exception("serving the engine failed")
                reason = f"the worker failed while it served the engine: {type(error).__name__}"
            if self._stopping.is_set():
                return
            loaded = self._started.is_set()
            self._mourn(reason)
            self._started.set()
            if not loaded or self._struck_out(reason):
                return
            self._stopping.wait(RESTART_PAUSE_S)

    def _one_life(self) -> str:
        """Start a process, serve it until it ends, and say how it ended."""
        try:
            process = EngineProcess(self._spec, self._config.hang_s)
        except OSError as error:
            return f"the engine process did not start: {error}"
        reason = None
        try:
            reason = self._await_ready(process) or self._listen(process)
        except (EOFError, EngineError):
            reason = None  # it went by itself; its exit code says more
        finally:
            self._process = None
            self._on_change(False)  # before the kill, which may take a while
            how = process.kill()
            self._undead = process if process.alive else None
        if reason and self._undead:
            return f"{reason}; its process {how}"
        return reason or f"the engine process {how}"

    def _await_ready(self, process: EngineProcess) -> str | None:
        deadline = time.monotonic() + self._config.load_s
        while not self._stopping.is_set():
            match process.receive(POLL_S):
                case Ready() as ready:
                    self._welcome(process, ready)
                    return None
                case Broken(error):
                    return error.message
                case _ if time.monotonic() > deadline:
                    return f"the model did not load within {self._config.load_s:g} s"
        return "the worker stops"

    def _welcome(self, process: EngineProcess, ready: Ready) -> None:
        sent = self._plan
        if sent is not None:
            process.send(sent)
        self._heard_at = time.monotonic()
        self._process = process
        if self._plan is not None and self._plan is not sent:
            process.send(self._plan)  # one that came in between, and met no process
        self.ready, self.profile = ready, ready.profile
        log.info("engine ready", model=ready.entry.name, device=ready.device, engine_pid=process.pid)
        self._on_change(True)
        self._started.set()

    def _listen(self, process: EngineProcess) -> str | None:
        turned_at = time.monotonic()
        while not self._stopping.is_set():
            report = process.receive(POLL_S, self._hear)
            turned_at = self._allow_for_freeze(turned_at)
            match report:
                case Slot(events):
                    self._hear()
                    self._traces.slot(events, self._router.run)
                    for event in events:
                        self._take(event)
                case Profiled() as profile:
                    self._hear()
                    self.profile = profile
                case Broken(error):
                    return error.message
                case _ if len(self._router) and self.silence_s > self.patience_s:
                    return f"the engine was silent for {self.silence_s:.0f} s and was ended"
        return None

    def _hear(self) -> None:
        self._heard_at = time.monotonic()

    def _allow_for_freeze(self, turned_at: float) -> float:
        """A worker that was itself stopped for a while must not blame its engine."""
        now = time.monotonic()
        if now - turned_at > 4 * POLL_S + 1.0:
            self._heard_at = now
        return now

    def _take(self, event: Event) -> None:
        self._metrics.take(event)
        if isinstance(event, SlotReport):
            self.slot = {name: float(value) for name, value in asdict(event).items()} | self._sums(event)
            self._patience.took(event.measured_s)
        elif self._router.route(event):
            self._strikes.clear()

    def _sums(self, slot: SlotReport) -> dict[str, float]:
        """What the predicted slots of this process's life should have taken, and took, in all."""
        if slot.predicted_s > 0.0:
            self._predicted_s += slot.predicted_s
            self._measured_s += slot.measured_s
        return {"predicted_total_s": self._predicted_s, "measured_total_s": self._measured_s}

    def _mourn(self, reason: str) -> None:
        self._lost_because = reason
        self._metrics.engine_lost()
        runs = self._router.lose_all(reason)
        log.error("engine lost", reason=reason, jobs=len(runs))
        self._strikes.add([run.id for run in runs if run.alone])

    def _struck_out(self, reason: str) -> bool:
        self.restarts += 1
        if self._undead:
            self._on_failing(f"a new engine would find the device's memory taken: {reason}")
            return True
        if self._strikes.out:
            self._on_failing(f"the engine failed {self._strikes.count} times without finishing a job; last: {reason}")
        return self._strikes.out
