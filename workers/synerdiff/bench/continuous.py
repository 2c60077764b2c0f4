"""The engine's policies: step-level continuous batching, with and without what SynerDiff adds to it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from synerdiff.bench.clock import Arrivals
from synerdiff.bench.outcome import CallCounter, JobOutcome, Run
from synerdiff.bench.steering import Scheduler
from synerdiff.bench.workload import Arrival
from synerdiff.engine.engine import Engine
from synerdiff.engine.types import ImageReady, JobFailed, Request
from synerdiff.policy.steering import Load
from synerdiff.protocol.errors import EngineError


class _Session:
    """One run: jobs move from the trace to the backlog, to the engine, to their outcome."""

    def __init__(self, policy: str, engine: Engine, trace: Sequence[Arrival], quality: str) -> None:
        self.run = Run(policy=policy, jobs={a.request.job_id: JobOutcome(a.request.job_id, a.at) for a in trace})
        self.arrivals = Arrivals(trace)
        self._engine = engine
        self._quality = quality
        self._backlog: deque[Request] = deque()
        self._requests = {item.request.job_id: item.request for item in trace}

    @property
    def over(self) -> bool:
        return self.arrivals.over and not self._backlog and self._engine.idle

    def load(self) -> Load:
        """What has arrived and is not done, as the scheduler service counts it."""
        now = self.arrivals.now()
        open_jobs = [
            self._requests[job.job_id] for job in self.run.jobs.values() if not job.done_s and job.arrived_s <= now
        ]
        return Load(
            waiting_jobs=len(self._backlog),
            running_jobs=len(open_jobs) - len(self._backlog),
            open_steps=sum(request.n * request.steps for request in open_jobs),
            open_images=sum(request.n for request in open_jobs),
            devices=1,
        )

    def admit(self) -> None:
        """Give the engine what it has room for, oldest first."""
        self._backlog.extend(self.arrivals.arrived())
        while self._backlog and self._backlog[0].n <= self._engine.free:
            self._engine.admit(replace(self._backlog.popleft(), quality=self._quality))
        if self._engine.idle and not self._backlog:
            self.arrivals.wait_for_next()

    def step(self) -> None:
        """One slot of the engine."""
        for event in self._engine.step():
            if isinstance(event, ImageReady):
                self._keep(event)
            elif isinstance(event, JobFailed):
                raise EngineError(f"{event.job_id}: {event.error.message}")

    def _keep(self, event: ImageReady) -> None:
        job = self.run.jobs[event.job_id]
        job.images[event.index] = event.pixels
        job.vae_s.append(event.timings.decode_wait + event.timings.decode)
        self.run.rows_skipped += event.receipt.rows_skipped
        self.run.decodes[1, *event.pixels.shape[:2]] += 1
        if len(job.images) == self._requests[event.job_id].n:
            job.done_s = self.arrivals.now()


def run_engine(policy: str, engine: Engine, trace: Sequence[Arrival], quality: str, scheduler: Scheduler | None) -> Run:
    """Run a trace through an engine; ``quality`` replaces the trace's own, ``scheduler`` writes plans each second."""
    session = _Session(policy, engine, trace, quality)
    cpu = time.process_time()
    with CallCounter(engine.model.unet_in(engine.model.dtype), session.run):
        while not session.over:
            session.admit()
            now = session.arrivals.now()
            if scheduler is not None and scheduler.due(now):
                engine.set_plan(scheduler.plan(now, session.load()))
            session.step()
    session.run.wall_s, session.run.cpu_s = session.arrivals.now(), time.process_time() - cpu
    return session.run
