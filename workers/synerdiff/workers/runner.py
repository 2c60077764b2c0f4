"""One hint, from claim to end: the thread of a Celery task walks a job through engine, store and ledger."""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty
from typing import Protocol

from synerdiff.engine.types import ImageTimings, Request, Snapshot
from synerdiff.ledger import Claim, Ended, Ledger, Refused
from synerdiff.protocol import ErrorInfo, Job, JobEvent, JobResult, Limits, ModelEntry, SynerDiffError, parse_job
from synerdiff.protocol.errors import EngineError, FieldError, InvalidJob, LedgerUnavailable
from synerdiff.telemetry import get_logger, job_context
from synerdiff.workers.bridge import Bridge
from synerdiff.workers.gate import Gate
from synerdiff.workers.leases import Leases
from synerdiff.workers.metrics import WorkerMetrics
from synerdiff.workers.passing import PassingOn
from synerdiff.workers.persist import persist
from synerdiff.workers.previews import preview_event
from synerdiff.workers.receipts import job_receipt, job_timings
from synerdiff.workers.reports import StepReports
from synerdiff.workers.runs import (
    EngineLost,
    Failed,
    GiveBack,
    Gone,
    Imaged,
    Moved,
    News,
    Offered,
    Phase,
    Previewing,
    Revoked,
    Run,
    Saved,
)
from synerdiff.workers.traces import Traces
from synerdiff.workers.uploads import Uploads

log = get_logger(__name__)

CLAIM_PATIENCE_S = 10.0
PART_S = 2.0  # what the engine has to hand out a job's latents: more than a slot
DRAIN_S = 0.5  # a job that must run alone waits so long for others to end; then they go on later, with their latents
PROVEN = 2  # steps past its trial at least: the last report before the crash may be one behind
_CLAIM_AGAIN = ("drain", "unregistered")


class HintSender(Protocol):
    """Sends hints for released jobs; never raises."""

    def __call__(self, job_ids: tuple[str, ...], /) -> None: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a hint ended here: a state for Flower, and why. ``error`` is set when the job failed."""

    state: str
    reason: str = ""
    images: int = 0
    error: ErrorInfo | None = None


@dataclass(slots=True)
class Progress:
    """What is done of a job so far."""

    timings: list[ImageTimings] = field(default_factory=list)
    saved: dict[int, Saved] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Serving:
    """What this worker serves, how long its claims hold, and how far apart its reports of a job's steps are."""

    worker: str
    entry: ModelEntry
    limits: Limits
    lease_s: float
    keep_ttl_s: float = 3600.0
    news_s: float = 0.0


class Runner:
    """Follows hints. Safe to call from many threads, one a hint.

    ``abandoned`` is set when the worker must leave: then nothing waits for the ledger any more.
    """

    def __init__(
        self,
        serving: Serving,
        *,
        ledger: Ledger,
        bridge: Bridge,
        uploads: Uploads,
        leases: Leases,
        gate: Gate,
        send_hints: HintSender,
        reports: StepReports | None = None,
        metrics: WorkerMetrics | None = None,
        traces: Traces | None = None,
    ) -> None:
        self._serving = serving
        self._ledger = ledger
        self._bridge = bridge
        self._uploads = uploads
        self._leases = leases
        self._gate = gate
        self._send_hints = send_hints
        self._reports = reports or StepReports(lambda reports: None, 0.0)
        self._metrics = metrics or WorkerMetrics()
        self._traces = traces or Traces()
        self._passing = PassingOn()
        self.abandoned = threading.Event()

    def follow(self, job_id: str) -> Outcome:
        """Claim a job and see it through; what became of it here."""
        with self._gate.passing() as admitted, job_context(job_id):
            if not admitted:
                self._send_hints((job_id,))  # another worker may be free
                return Outcome("refused", "this worker is leaving")
            claim = self._claim(job_id)
            if not isinstance(claim, Claim):
                return Outcome("refused", claim)
            run = _run(claim)
            with self._leases.holding(run), self._traces.job(run, claim, self._serving.worker):
                outcome = self._see_through(run)
            self._metrics.left(self._serving.entry.pool, outcome.state)
            log.info("job left", state=outcome.state, reason=outcome.reason, attempts=claim.attempts)
            return outcome

    # Claiming

    def _claim(self, job_id: str) -> Claim | str:
        """The claim, or why there is none. A quarantined job waits here until this worker holds nothing else."""
        nonce = uuid.uuid4().hex
        patience_s, drained_at = CLAIM_PATIENCE_S, time.monotonic() + DRAIN_S
        while True:
            answer = persist(lambda: self._ask(job_id, nonce), stop=self.abandoned, what="claim")
            if not isinstance(answer, Refused):
                return answer if answer is not None else "the ledger cannot be reached"
            self._send_hints(answer.released)
            if answer.reason == "elsewhere":
                self._pass_on(job_id)
            if answer.reason not in _CLAIM_AGAIN or self._gate.closed or patience_s <= 0:
                return answer.reason
            if answer.reason == "drain" and len(self._leases):
                if time.monotonic() >= drained_at:
                    self._leases.make_room("a job had to run alone")
                    drained_at = math.inf
                self._leases.wait_empty(timeout_s=0.5)
            else:
                patience_s -= 0.2
                self.abandoned.wait(0.2)

    def _pass_on(self, job_id: str) -> None:
        """The hint is for another worker, which is free for this job."""
        wait_s = self._passing.wait_s(job_id)
        if wait_s is not None and not self.abandoned.wait(wait_s):
            self._send_hints((job_id,))

    def _ask(self, job_id: str, nonce: str) -> Claim | Refused:
        serving = self._serving
        return self._ledger.claim(job_id, worker=serving.worker, nonce=nonce, lease_s=serving.lease_s)

    # Working

    def _see_through(self, run: Run) -> Outcome:
        try:
            self._check(run.job)
            self._bridge.admit(run, _request(run), self._kept(run))
            return self._listen(run)
        except InvalidJob as error:
            return self._fail(run, error.info)
        except EngineError:
            return self._hand_back(run, GiveBack("the engine is being started again"))
        except SynerDiffError as error:
            return self._fail(run, error.info)
        except BaseException as error:
            # MemoryError, SystemExit and KeyboardInterrupt would leak Celery's slot and leave the job to its lease.
            log.exception("job stopped by an error of the worker")
            reason = f"the worker failed: {type(error).__name__}"
            return self._fail(run, ErrorInfo(code="worker_error", message=reason, retryable=True))
        finally:
            self._bridge.cancel(run)
            self._reports.close(run)

    def _check(self, job: Job) -> None:
        """Validate again: the record may be older than this worker's limits, or written by somebody else."""
        entry = self._serving.entry
        if job.model != entry.name:
            message = f"model must be {entry.name} on this worker; got {job.model[:40]!r}"
            raise InvalidJob([FieldError(field="model", message=message)])
        parse_job(job.model_dump(), limits=self._serving.limits, entry=entry)

    def _kept(self, run: Run) -> bytes | None:
        """The latent checkpoint to go on from."""
        if not run.kept:
            return None
        return persist(lambda: self._ledger.kept(run.id), stop=self.abandoned, what="read a checkpoint")

    def _next(self, run: Run) -> News:
        """The next news. An engine that was told to give the job up and does not has nothing to hand out."""
        try:
            return run.news.get(timeout=PART_S if run.parting else None)
        except Empty:
            return Gone(None)

    def _listen(self, run: Run) -> Outcome:
        done = Progress()
        while True:
            match self._next(run):
                case Moved() as moved:
                    if _proven(run, moved, self._serving.news_s):
                        run.tell(GiveBack("alone it got past where it was in the crash", how="proven"))
                case Previewing(preview):
                    self._tell(run, preview_event(preview))
                case Imaged(image):
                    self._traces.image(run, image)
                    done.timings.append(image.timings)
                    self._uploads.submit(run, image)
                case Saved() as saved:
                    done.saved[saved.index] = saved
                    event = JobEvent(kind="image", step=run.step, steps=run.job.steps, image=saved.index)
                    self._tell(run, *self._reports.take(run), event)  # its steps come before it
                    if len(done.saved) == run.job.n:
                        return self._finish(run, done)
                case Failed(error):
                    return self._fail(run, error)
                case Revoked(reason):
                    return Outcome(reason)
                case Offered():
                    run.offered = False
                    self._keep(run, run.snapshot)
                case GiveBack() as order:
                    if (ended := self._part(run, order)) is not None:
                        return ended
                case Gone(kept):
                    self._keep(run, kept)
                    return self._hand_back(run, run.parting or GiveBack("the engine gave it up"))
                case EngineLost(reason):
                    return self._crashed(run, reason)

    def _tell(self, run: Run, *events: JobEvent) -> None:
        """Progress is news, not truth: it may be missed while the ledger is away."""
        try:
            self._ledger.progress_many([(run.id, run.token, event) for event in events])
        except LedgerUnavailable as error:
            log.debug("progress not recorded", reason=error.message)

    def _keep(self, run: Run, snapshot: Snapshot | None) -> None:
        """Without a checkpoint a rerun has more to do, and nothing else is lost."""
        if snapshot is None:
            return
        try:
            ttl_s = self._serving.keep_ttl_s
            self._ledger.keep(run.id, run.token, snapshot.steps, snapshot.data, ttl_s)
        except LedgerUnavailable as error:
            log.debug("latents not kept", reason=error.message)

    def _part(self, run: Run, order: GiveBack) -> Outcome | None:
        """Have the engine give the job up first, so that its latents go along; an outcome if that is of no use.

        An engine that has the job no more has said so already: what waits in ``run.news`` decides, a crash or a
        failure too. Where nothing does, the job is handed back after ``PART_S``.
        """
        uploading = run.phase is Phase.UPLOADING
        if order.how and (uploading or run.parting):
            return None  # it leaves its place by itself
        if order.at_once and (lost := self._lost(run)) is not None:
            return self._crashed(run, lost.reason)
        if order.at_once or uploading:
            return self._hand_back(run, order)
        if not run.parting and (self._bridge.part(run) or not order.how):
            run.parting = order
        return None

    def _lost(self, run: Run) -> EngineLost | None:
        """What was said behind an order that bears no waiting: a crash is no less one for it."""
        with suppress(Empty):
            while True:
                match run.news.get_nowait():
                    case EngineLost() as lost:
                        return lost
        return EngineLost("the engine ended under it") if self._bridge.mourns(run) else None

    # Ending

    def _finish(self, run: Run, done: Progress) -> Outcome:
        images = [done.saved[index] for index in sorted(done.saved)]
        result = JobResult(
            images=[image.ref for image in images],
            timings=job_timings(run.queued_s, done.timings, [image.upload_s for image in images], run.held_s),
            receipt=job_receipt(run.job, [image.receipt for image in images]),
        )
        ended = self._end(lambda: self._ledger.finish(run.id, run.token, result), "finish")
        if ended is None:
            return Outcome("handed_back", "the ledger cannot be reached")
        if not ended.accepted:
            return Outcome("lost", str(ended.state or ""))
        self._metrics.finished(result.timings, len(images))
        return Outcome("succeeded", images=len(images))

    def _fail(self, run: Run, error: ErrorInfo) -> Outcome:
        ended = self._end(lambda: self._ledger.fail(run.id, run.token, error), "fail")
        if ended is not None and not ended.accepted:
            return Outcome("lost", str(ended.state or ""))
        return Outcome("failed", error.message, error=error)

    def _hand_back(self, run: Run, order: GiveBack) -> Outcome:
        self._end(lambda: self._ledger.hand_back(run.id, run.token, order.reason, order.how), "hand back")
        return Outcome("set_aside" if order.how == "aside" else "handed_back", order.reason)

    def _crashed(self, run: Run, reason: str) -> Outcome:
        step = run.step  # the engine's last words came before its end
        self._end(lambda: self._ledger.hand_back(run.id, run.token, reason, "crashed", step), "report a crash")
        return Outcome("crashed", reason)

    def _end(self, call: Callable[[], Ended], what: str) -> Ended | None:
        ended = persist(call, stop=self.abandoned, what=what)
        if ended is not None:
            self._send_hints(ended.released)
        return ended


def _proven(run: Run, moved: Moved, news_s: float) -> bool:
    """Whether a job that runs alone has, with this step, got past where it was when it crashed in company.

    What it did in the ``news_s`` seconds between its last report and the crash it does in no more of them alone, and in
    company it was no more than the steps up to ``run.clear``, by what its worker or its reports said: whichever comes
    first ends the trial. A job whose batch became faster, or whose next report was later, than ever before may crash in
    company once more, and then runs alone to its end.
    """
    if run.trial is None or moved.step <= run.trial or moved.step >= moved.steps:
        return False
    run.past += 1
    if run.past == 1:
        run.past_at = moved.at
    cleared = run.clear is not None and moved.step >= run.clear
    return cleared or (run.past >= PROVEN and moved.at - run.past_at >= news_s)


def _run(claim: Claim) -> Run:
    # After a crash with nothing beside it a job starts over: what was kept of it may be what breaks the engine.
    kept = 0 if claim.attempts else claim.kept
    return Run(
        claim.job,
        claim.token,
        alone=claim.alone,
        level=claim.level,
        asides=claim.asides,
        kept=kept,
        trial=claim.trial,
        clear=claim.clear,
        queued_s=max(0.0, claim.claimed_at - claim.enqueued_at),
    )


def _request(run: Run) -> Request:
    job = run.job
    return Request(
        job_id=job.id,
        prompt=job.prompt,
        negative_prompt=job.negative_prompt,
        width=job.width,
        height=job.height,
        steps=job.steps,
        guidance_scale=job.guidance_scale,
        sampler=job.sampler,
        seed=job.seed,
        n=job.n,
        quality=job.quality,
        priority=run.level,
    )
