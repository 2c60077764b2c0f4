"""Which job is in the engine, and who hears the engine's events."""

from __future__ import annotations

import threading
from collections.abc import Callable

from synerdiff.engine.types import (
    Admitted,
    Event,
    ImageReady,
    JobFailed,
    Parted,
    Previewed,
    SetAside,
    SlotReport,
    Snapshot,
    Stepped,
    Waits,
)
from synerdiff.telemetry import get_logger
from synerdiff.workers.runs import EngineLost, Failed, Gone, Imaged, Phase, Previewing, Run

log = get_logger(__name__)

OnStep = Callable[[Run, int, int], None]


class Router:
    """Takes the engine's events to the runs they are about.

    A run leaves when its last image is made, when it fails, is cancelled or given up, or the engine is lost.
    ``on_step`` hears each step of a job: ``(run, step, steps)``.
    """

    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step
        self._lock = threading.Lock()
        self._runs: dict[str, Run] = {}

    def __len__(self) -> int:
        return len(self._runs)

    def run(self, job_id: str) -> Run | None:
        """The run that hears of a job, if it is here."""
        return self._runs.get(job_id)

    def add(self, run: Run) -> bool:
        """Have the engine's events of this job go to ``run``; whether they went to an earlier run of it until now."""
        with self._lock:
            before = self._runs.get(run.id)
            self._runs[run.id] = run
        return before is not None and before is not run

    def drop(self, run: Run) -> bool:
        """Pass on nothing more to ``run``; whether it was the one that hears of its job."""
        with self._lock:
            if self._runs.get(run.id) is not run:
                return False
            del self._runs[run.id]
            return True

    def lose_all(self, reason: str) -> list[Run]:
        """Tell every job that the engine is lost, and return them."""
        with self._lock:
            runs = list(self._runs.values())
            self._runs.clear()
        for run in runs:
            run.tell(EngineLost(reason))
        return runs

    def route(self, event: Event) -> bool:
        """Take one event to its job; true when it was the last image of a job."""
        if isinstance(event, SlotReport):
            return False
        run = self._runs.get(event.job_id)
        if run is None:
            return False  # cancelled in the meantime
        if isinstance(event, Previewed):
            run.moved()  # it may come late, when the job waits again
        else:
            run.moved(Phase.WAITING if isinstance(event, SetAside | Waits) else Phase.ACTIVE)
        match event:
            case Admitted(job_id, _, resumed) if resumed:
                log.info("job goes on from its checkpoint", job_id=job_id, step=resumed)
            case SetAside(job_id):
                log.info("job set aside for a more urgent one", job_id=job_id)
            case Snapshot():
                run.offer(event)
            case Parted(_, kept):
                self.drop(run)
                run.tell(Gone(kept))
            case Stepped(_, step, steps):
                self._tell_step(run, step, steps)
            case Previewed():
                run.tell(Previewing(event))
            case ImageReady():
                return self._deliver(run, event)
            case JobFailed(_, error):
                self.drop(run)
                run.tell(Failed(error))
        return False

    def _tell_step(self, run: Run, step: int, steps: int) -> None:
        if step == run.step:
            return  # another image than the slowest stepped
        run.step = step
        self._on_step(run, step, steps)

    def _deliver(self, run: Run, image: ImageReady) -> bool:
        run.made.add(image.index)  # an earlier run's image may come late, and its index again
        last = len(run.made) == run.job.n
        if last:
            run.moved(Phase.UPLOADING)
            self.drop(run)
        run.tell(Imaged(image))
        return last
