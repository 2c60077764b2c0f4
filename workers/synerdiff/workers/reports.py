"""How far jobs are, told to the ledger and to Flower: all of a worker's jobs in one call."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from synerdiff.ledger import Ledger
from synerdiff.protocol import JobEvent
from synerdiff.protocol.errors import LedgerUnavailable
from synerdiff.telemetry import get_logger
from synerdiff.workers.runs import Moved, Run

log = get_logger(__name__)

GATHER_S = 0.01  # what a slot's events need to come in, so that they go out together


@dataclass(frozen=True, slots=True)
class Report:
    """A run's job has finished ``step`` of ``steps`` denoising steps."""

    run: Run
    step: int
    steps: int

    @property
    def event(self) -> JobEvent:
        """The report as the job's stream has it."""
        return JobEvent(kind="step", step=self.step, steps=self.steps)


Tell = Callable[[Sequence[Report]], None]


def told_to(ledger: Ledger, tell_tasks: Tell) -> Tell:
    """Write reports to the jobs' streams in one call, then show them as tasks.

    Progress is news, not truth: it may be missed while the ledger is away.
    """

    def tell(reports: Sequence[Report]) -> None:
        try:
            ledger.progress_many([(report.run.id, report.run.token, report.event) for report in reports])
        except LedgerUnavailable as error:
            log.debug("progress not recorded", reason=error.message)
        tell_tasks(reports)

    return tell


class StepReports:
    """Tells what jobs have stepped once in ``news_s`` seconds, with 0 every step; a run's first step and the job's last
    at once.

    At least ``news_s`` lie between two reports of a job, the last step's aside; nearly twice that may lie between its
    first step's, told at once, and the next, told when all are. A job on trial hears of each step.

    ``note`` never waits for the ledger. Once :meth:`close` returns, nothing more is told of a run: what ends it comes
    after its last report.
    """

    def __init__(self, tell: Tell, news_s: float) -> None:
        self._tell = tell
        self._news_s = news_s
        self._changed = threading.Condition()
        self._telling = threading.Lock()  # held while reports go out, so that one can wait until they have
        self._pending: dict[tuple[Run, int], Report] = {}
        self._told_at = time.monotonic()  # the last time that all were told
        self._last: dict[Run, float] = {}  # each run's last report
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="step-reports", daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def stop(self) -> None:
        """Tell nothing more; a call that is under way ends by itself."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def note(self, run: Run, step: int, steps: int) -> None:
        """A job has stepped; a report of it that still waits is replaced, unless every step is told."""
        report = Report(run, step, steps)
        if run.trial is not None:
            run.tell(Moved(step, steps, time.monotonic()))
        with self._changed:
            if run.over.is_set():
                return
            self._pending[run, 0 if self._news_s else step] = report
            if self._urgent(report) or len(self._pending) == 1:
                self._changed.notify_all()

    def take(self, run: Run) -> list[JobEvent]:
        """What was not told of a run yet, for its next event to follow; all before has been told by then."""
        with self._telling, self._changed:
            keys = [key for key in self._pending if key[0] is run]
            return [self._pending.pop(key).event for key in keys]

    def close(self, run: Run) -> None:
        """Tell nothing more of a run."""
        run.over.set()
        self.take(run)
        with self._changed:
            self._last.pop(run, None)

    def _urgent(self, report: Report) -> bool:
        """Whether it is the job's last step, or the first that is told of a run: what crashed before had none."""
        return report.step == report.steps or report.run not in self._last

    def _work(self) -> None:
        while self._wait():
            time.sleep(GATHER_S)
            with self._telling:
                reports = self._due()
                try:
                    if reports:
                        self._tell(reports)
                except Exception as error:  # the thread that tells of all jobs must not end by one
                    log.exception("steps not told", reason=type(error).__name__)

    def _wait(self) -> bool:
        """Wait until something is to be told; false once stopped."""
        with self._changed:
            while not self._stopped:
                left_s = self._told_at + self._news_s - time.monotonic()
                if self._pending and (left_s <= 0 or any(map(self._urgent, self._pending.values()))):
                    return True
                self._changed.wait(left_s if self._pending else None)
        return False

    def _due(self) -> list[Report]:
        """The urgent ones and, if it is time, all that were not told lately."""
        with self._changed:
            now = time.monotonic()
            whole = now - self._told_at >= self._news_s
            if whole:
                self._told_at = now
            keys = [
                key
                for key, report in self._pending.items()
                if self._urgent(report) or (whole and now - self._last.get(report.run, -math.inf) >= self._news_s)
            ]
            reports = [self._pending.pop(key) for key in keys]
            self._last.update((report.run, now) for report in reports)
            return reports
