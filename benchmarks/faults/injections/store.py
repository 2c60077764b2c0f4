"""Faults of the object store, made by the proxies before it."""

from __future__ import annotations

import signal
import threading
import time
from functools import partial

from benchmarks.faults.bench import Bench, fault
from benchmarks.faults.part import WorkerPart
from benchmarks.faults.proxies import Mode

ERRORS_S = 12.0
SLOW_S = 12.0
GONE_S = 60.0


def _for_a_while(bench: Bench, mode: Mode, seconds: float) -> None:
    for part in bench.fleet.workers:
        part.s3.set(mode)
    time.sleep(seconds)
    for part in bench.fleet.workers:
        part.s3.set("pass")


@fault("S3 answers 500, 12 s")
def s3_errors(bench: Bench) -> None:
    """Every request is answered with an error."""
    _for_a_while(bench, "error_500", ERRORS_S)


@fault("S3 slow, 12 s: 1.5 s more a request")
def s3_slow(bench: Bench) -> None:
    """Every chunk of a request waits."""
    _for_a_while(bench, "slow", SLOW_S)


@fault("S3 gone, 60 s")
def s3_gone(bench: Bench) -> None:
    """Connections are refused."""
    _for_a_while(bench, "refuse", GONE_S)


@fault("crash between PUT and finish")
def crash_after_put(bench: Bench) -> set[str]:
    """A worker is killed when its PUT was answered and before it hears of it."""
    killed = threading.Event()
    hit: set[str] = set()

    def kill(part: WorkerPart) -> None:
        if not killed.is_set():
            bench.strike()
            killed.set()
            part.signal(signal.SIGKILL)

    running = {view.id for view in bench.running()}
    for part in bench.fleet.workers:
        part.s3.on_put = partial(kill, part)
    killed.wait(60)
    for part in bench.fleet.workers:
        part.s3.on_put = None
    return hit | running
