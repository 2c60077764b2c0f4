"""Faults of worker processes: killed, frozen, told to leave."""

from __future__ import annotations

import contextlib
import signal
import time

import psutil

from benchmarks.faults.bench import Bench, fault
from benchmarks.faults.part import Part

FREEZE_S = 18.0
RELOAD_S = 240.0  # a new engine on a busy machine takes a minute or more
LOOP = 3


def _freeze(part: Part) -> list[psutil.Process]:
    """Stop a worker and its engine process, as a frozen container is."""
    family = part.family()
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
    return family


def _thaw(family: list[psutil.Process]) -> None:
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()


@fault("kill -9 of a worker with a full batch")
def worker_kill(bench: Bench) -> set[str]:
    """Kill the busiest worker."""
    part, held = bench.busy_worker(bench.fleet.capacity)
    part.signal(signal.SIGKILL)
    return held


@fault("kill -9 loop under load: each worker, as soon as it is back")
def worker_kill_loop(bench: Bench) -> set[str]:
    """Kill one worker after another."""
    hit: set[str] = set()
    for _ in range(LOOP):
        part, held = bench.busy_worker(1, timeout_s=60)
        part.signal(signal.SIGKILL)
        hit |= held
        time.sleep(bench.rng.uniform(1, 4))
    return hit


@fault("freeze, then kill")
def worker_freeze_kill(bench: Bench) -> set[str]:
    """Stop a busy worker for 5 s, then kill it."""
    part, held = bench.busy_worker()
    _freeze(part)
    time.sleep(5)
    bench.strike()
    part.signal(signal.SIGKILL)
    return held


@fault("freeze 18 s and resume: late writes are fenced")
def worker_freeze_resume(bench: Bench) -> set[str]:
    """Stop a busy worker for longer than its leases hold, and let it go on."""
    part, held = bench.busy_worker()
    family = _freeze(part)
    time.sleep(FREEZE_S)
    _thaw(family)
    return held


@fault("a worker's own disk full, and its engine killed meanwhile")
def worker_disk_full(bench: Bench) -> set[str]:
    """No file of a busy worker and its engines may grow: they see EFBIG where a full disk gives ENOSPC.

    The engine is killed, so that another one has to start, and find nowhere to write to.
    """
    part, held = bench.busy_worker()
    family = part.family()
    hard = [process.rlimit(psutil.RLIMIT_FSIZE)[1] for process in family]
    for process, most in zip(family, hard, strict=True):
        process.rlimit(psutil.RLIMIT_FSIZE, (1, most))
    pid, ran = part.pid, {view.id for view in bench.running()}
    engine = part.engine()
    if engine is not None:
        engine.kill()
    ready = bench.wait(lambda: bench.took_a_job(part, ran), RELOAD_S)
    for process in part.family():
        process.rlimit(psutil.RLIMIT_FSIZE, (hard[0], hard[0]))
    if not ready or part.pid != pid:
        raise AssertionError(f"{part.name} did not live through a full disk")
    return held


@fault("SIGTERM with less grace than the jobs need")
def worker_sigterm(bench: Bench) -> set[str]:
    """Ask a busy worker to leave; its grace is 2 s."""
    part, held = bench.busy_worker()
    part.signal(signal.SIGTERM)
    return held


@fault("SIGTERM twice")
def worker_sigterm_twice(bench: Bench) -> set[str]:
    """Ask a busy worker to leave, and insist."""
    part, held = bench.busy_worker()
    part.signal(signal.SIGTERM)
    time.sleep(0.5)
    part.signal(signal.SIGTERM)
    return held


@fault("rolling restart of all workers under load")
def rolling_restart(bench: Bench) -> set[str]:
    """Each worker in turn leaves and comes back."""
    hit: set[str] = set()
    for part in bench.fleet.workers:
        hit |= {view.id for view in bench.running()}
        pid = part.pid
        part.signal(signal.SIGTERM)
        bench.wait(lambda part=part, pid=pid: part.pid != pid, 60)  # type: ignore[misc]
        bench.fleet.wait_whole(bench.ledger, 120)
    return hit
