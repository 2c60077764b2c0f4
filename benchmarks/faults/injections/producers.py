"""What producers do: cancel at every point, and burst."""

from __future__ import annotations

import signal
import time

from benchmarks.faults.bench import Bench, fault
from synerdiff.protocol import JobState

BURST = 60
CANCELLED = frozenset({JobState.CANCELLED})


def _cancel(bench: Bench, job_id: str) -> None:
    """Cancel; a job that ended first keeps its end."""
    bench.history.allow(job_id, JobState.CANCELLED)
    if bench.ledger.cancel(job_id).accepted:
        bench.history.jobs[job_id].right = CANCELLED


@fault("cancel while queued")
def cancel_queued(bench: Bench) -> set[str]:
    """Cancel jobs as soon as they are stored."""
    ids = [job_id for _ in range(3) if (job_id := bench.load.submit(priority=0)) is not None]
    for job_id in ids:
        _cancel(bench, job_id)
    return set(ids)


@fault("cancel while running")
def cancel_running(bench: Bench) -> set[str]:
    """Cancel two running jobs in mid-denoise."""
    bench.busy_worker()
    bench.strike()
    ids = {view.id for view in bench.running()[:2]}
    for job_id in ids:
        _cancel(bench, job_id)
    return ids


@fault("cancel with no worker alive")
def cancel_nobody_home(bench: Bench) -> set[str]:
    """Kill all workers, cancel what they held; the workers that come back must leave it cancelled."""
    with bench.fleet.left_dead(*bench.fleet.workers):
        ids = {view.id for view in bench.running()}
        for part in bench.fleet.workers:
            part.signal(signal.SIGKILL)
        time.sleep(1)
        for job_id in ids:
            _cancel(bench, job_id)
    return ids


@fault("burst of 60 jobs from one tenant")
def burst(bench: Bench) -> set[str]:
    """Sixty jobs at once, beside the others' trickle."""
    ids = [bench.load.submit(tenant="greedy", steps=4, n=1, priority=5) for _ in range(BURST)]
    return {job_id for job_id in ids if job_id is not None}
