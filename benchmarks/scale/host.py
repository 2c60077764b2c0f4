"""One process that stands for many workers: the real Celery worker and the real ledger, with no engine behind.

``python -m benchmarks.scale.host REDIS_URL FIRST COUNT BEAT`` serves as workers ``w{FIRST}`` to
``w{FIRST + COUNT - 1}``; they send heartbeats if BEAT is 1. The first one follows the hints, as many at a time as a
worker does: all its jobs step in each slot, which lasts as long as the profile says, and the worker's own
:class:`StepReports` tells of them. A job makes every call and sends every event of a real one.
"""

from __future__ import annotations

import sys
import threading
import uuid
import warnings

from celery.platforms import SecurityWarning

from benchmarks.scale.workload import CAPACITY, LEASE_S, POOL, SLOT_S, report
from synerdiff.ledger import Claim, Ledger
from synerdiff.protocol import ImageRef, JobEvent, JobResult, Receipt, Timings
from synerdiff.settings import Settings
from synerdiff.telemetry import configure_logging
from synerdiff.workers.celeryapp import build_app
from synerdiff.workers.gate import Gate
from synerdiff.workers.periodic import Periodic
from synerdiff.workers.reports import StepReports, told_to
from synerdiff.workers.runner import HintSender, Outcome
from synerdiff.workers.runs import Run
from synerdiff.workers.step import Host
from synerdiff.workers.worker import RENEWALS

BEAT_S = 1.0


class SimulatedBatch:
    """The jobs of one worker: each steps once a slot, and is decoded in the slot after its last step."""

    def __init__(self, ledger: Ledger, worker: str, reports: StepReports) -> None:
        self._ledger = ledger
        self._worker = worker
        self._reports = reports
        self._lock = threading.Lock()
        self._waiting: dict[Run, threading.Event] = {}
        self._periodic = [Periodic("slots", SLOT_S, self.slot), Periodic("leases", LEASE_S / RENEWALS, self.renew)]

    def start(self) -> None:
        """Begin to step."""
        self._reports.start()
        for periodic in self._periodic:
            periodic.start()

    def stop(self) -> None:
        """Step no more; what is not made then never is."""
        for periodic in self._periodic:
            periodic.stop()
        self._reports.stop()
        for _, ended in self._held():
            ended.set()

    def make(self, run: Run) -> bool:
        """Wait for the job's image; whether it was made."""
        ended = threading.Event()
        with self._lock:
            self._waiting[run] = ended
        ended.wait()
        return run.step == run.job.steps

    def slot(self) -> None:
        """One slot of all jobs at hand."""
        for run, ended in self._held():
            if run.step == run.job.steps:
                with self._lock:
                    del self._waiting[run]
                ended.set()
            else:
                run.step += 1
                self._reports.note(run, run.step, run.job.steps)

    def renew(self) -> None:
        """Renew the leases of all jobs at hand."""
        self._ledger.renew(self._worker, {run.id: run.token for run, _ in self._held()}, LEASE_S)

    def _held(self) -> list[tuple[Run, threading.Event]]:
        with self._lock:
            return list(self._waiting.items())


class SimulatedWorkers:
    """Many workers' side of the ledger; hints are followed by the first of them."""

    def __init__(
        self, ledger: Ledger, names: list[str], send_hints: HintSender, reports: StepReports, *, beat: bool
    ) -> None:
        self.gate = Gate(lambda: True)
        self._ledger = ledger
        self._names = names
        self._send_hints = send_hints
        self._reports = reports
        self._batch = SimulatedBatch(ledger, names[0], reports)
        self._batch.start()
        self._beats = Periodic("heartbeats", BEAT_S, self._beat)
        if beat:
            self._beats.start()

    def follow(self, job_id: str) -> Outcome:
        """Claim a job, have it stepped, finish it."""
        ledger = self._ledger
        claim = ledger.claim(job_id, worker=self._names[0], nonce=uuid.uuid4().hex, lease_s=LEASE_S)
        if not isinstance(claim, Claim):
            return Outcome("refused", claim.reason)
        job, token = claim.job, claim.token
        run = Run(job, token)
        if not self._batch.make(run):
            return Outcome("handed_back", "the measurement is over")
        made = JobEvent(kind="image", step=job.steps, steps=job.steps, image=0)
        ledger.progress_many([(job.id, token, event) for event in (*self._reports.take(run), made)])
        receipt = Receipt(job_id=job.id, model=job.model, sampler=job.sampler, steps=job.steps, rows_run=50)
        image = ImageRef(
            key=f"images/{job.id}/0.png", sha256="0" * 64, width=job.width, height=job.height, seed=job.seed
        )
        ended = ledger.finish(job.id, token, JobResult(images=[image], timings=Timings(), receipt=receipt))
        self._send_hints(ended.released)
        self._reports.close(run)
        return Outcome("succeeded", images=1)

    def drain(self) -> None:
        """Stop the heartbeats and the slots."""
        self._beats.stop()
        self._batch.stop()

    def abandon(self) -> None:
        """What is held lapses."""

    def _beat(self) -> None:
        for name in self._names:
            self._ledger.heartbeat(report(name), ttl_s=3600.0)
            self._ledger.get_plan(POOL, report(name).profile_id)


def main(url: str, first: int, count: int, *, beat: bool) -> int:
    """Serve until SIGTERM."""
    warnings.filterwarnings("ignore", category=SecurityWarning)
    settings = Settings(redis_url=url, model=POOL, capacity=CAPACITY, log_level="ERROR")
    configure_logging(settings.log_level, settings.log_format)
    names = [f"w{number}" for number in range(first, first + count)]

    def launch(host: Host, _: int) -> None:
        ledger = Ledger.connect(url)
        reports = StepReports(told_to(ledger, host._tell_tasks), settings.progress_s)
        host.worker = SimulatedWorkers(ledger, names, host._send_hints, reports, beat=beat)  # type: ignore[assignment]

    Host.launch = launch  # type: ignore[assignment,method-assign]
    controller = build_app(settings).Worker(quiet=True, loglevel="ERROR")
    controller.start()
    return int(controller.exitcode or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), beat=sys.argv[4] == "1"))
