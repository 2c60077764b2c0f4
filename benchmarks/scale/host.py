"""One process that stands for many workers: the real Celery worker and the real ledger, with no engine behind.

``python -m benchmarks.scale.host REDIS_URL FIRST COUNT BEAT`` serves as workers ``w{FIRST}`` to
``w{FIRST + COUNT - 1}``; they send heartbeats if BEAT is 1. A job makes every call and sends every event of a real one
that is alone in its worker (with others, their steps are reported together), and takes no time in between.
"""

from __future__ import annotations

import itertools
import sys
import threading
import uuid
import warnings

from celery.platforms import SecurityWarning

from benchmarks.scale.workload import LEASE_S, POOL, report
from synerdiff.ledger import Claim, Ledger
from synerdiff.protocol import ImageRef, JobEvent, JobResult, Receipt, Timings
from synerdiff.settings import Settings
from synerdiff.telemetry import configure_logging
from synerdiff.workers.celeryapp import build_app
from synerdiff.workers.gate import Gate
from synerdiff.workers.reports import Report, Tell, told_to
from synerdiff.workers.runner import HintSender, Outcome
from synerdiff.workers.runs import Run
from synerdiff.workers.step import Host

BEAT_S = 1.0
THREADS = 16


class SimulatedWorkers:
    """Many workers' side of the ledger; hints are followed by them in turn."""

    def __init__(
        self, ledger: Ledger, names: list[str], send_hints: HintSender, tell_tasks: Tell, *, beat: bool
    ) -> None:
        self.gate = Gate(lambda: True)
        self._ledger = ledger
        self._names = names
        self._turn = itertools.cycle(names)
        self._send_hints = send_hints
        self._tell = told_to(ledger, tell_tasks)
        self._stop = threading.Event()
        if beat:
            threading.Thread(target=self._beat, name="heartbeats", daemon=True).start()

    def follow(self, job_id: str) -> Outcome:
        """Claim a job, report its steps, finish it."""
        ledger = self._ledger
        claim = ledger.claim(job_id, worker=next(self._turn), nonce=uuid.uuid4().hex, lease_s=LEASE_S)
        if not isinstance(claim, Claim):
            return Outcome("refused", claim.reason)
        job, token = claim.job, claim.token
        run = Run(job, token)
        for step in range(1, job.steps + 1):
            self._tell([Report(run, step, job.steps)])
        ledger.progress(job.id, token, JobEvent(kind="image", step=job.steps, steps=job.steps, image=0))
        receipt = Receipt(job_id=job.id, model=job.model, sampler=job.sampler, steps=job.steps, rows_run=50)
        image = ImageRef(
            key=f"images/{job.id}/0.png", sha256="0" * 64, width=job.width, height=job.height, seed=job.seed
        )
        ended = ledger.finish(job.id, token, JobResult(images=[image], timings=Timings(), receipt=receipt))
        self._send_hints(ended.released)
        return Outcome("succeeded", images=1)

    def drain(self) -> None:
        """Stop the heartbeats."""
        self._stop.set()

    def abandon(self) -> None:
        """Nothing is held between calls."""

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_S):
            for name in self._names:
                self._ledger.heartbeat(report(name), ttl_s=3600.0)
                self._ledger.get_plan(POOL, report(name).profile_id)


def main(url: str, first: int, count: int, *, beat: bool) -> int:
    """Serve until SIGTERM."""
    warnings.filterwarnings("ignore", category=SecurityWarning)
    settings = Settings(redis_url=url, model=POOL, capacity=THREADS, log_level="ERROR")
    configure_logging(settings.log_level, settings.log_format)
    names = [f"w{number}" for number in range(first, first + count)]

    def launch(host: Host, _: int) -> None:
        host.worker = SimulatedWorkers(Ledger.connect(url), names, host._send_hints, host._tell_tasks, beat=beat)  # type: ignore[assignment]

    Host.launch = launch  # type: ignore[assignment,method-assign]
    controller = build_app(settings).Worker(quiet=True, loglevel="ERROR")
    controller.start()
    return int(controller.exitcode or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), beat=sys.argv[4] == "1"))
