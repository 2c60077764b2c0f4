"""Faults of the scheduler: dead, doubled, with a stale or damaged plan."""

from __future__ import annotations

import signal
import time

from benchmarks.faults.bench import Bench, fault
from synerdiff.ledger import LeaderToken

DEAD_S = 15.0
TWO_S = 8.0


@fault("scheduler dead for 15 s")
def scheduler_dead(bench: Bench) -> None:
    """Nobody plans, reaps or sends hints again."""
    scheduler = bench.fleet.scheduler
    with bench.fleet.left_dead(scheduler):
        scheduler.signal(signal.SIGKILL)
        time.sleep(DEAD_S)


@fault("two schedulers, and the leading one killed")
def two_schedulers(bench: Bench) -> None:
    """A second one stands by and takes over; then it goes."""
    second = bench.fleet.make_part("scheduler")
    bench.fleet.order(second)
    time.sleep(TWO_S)
    with bench.fleet.left_dead(bench.fleet.scheduler):
        bench.fleet.scheduler.signal(signal.SIGKILL)
        time.sleep(TWO_S)
    bench.wait(lambda: bench.fleet.scheduler.alive, 30)
    if second.child is not None:
        second.child.stop()


@fault("stale plan refused, damaged plan ignored")
def stale_plan(bench: Bench) -> None:
    """A deposed leader writes, and somebody writes nonsense."""
    for report in bench.fleet.reports(bench.ledger).values():
        head = {"version": "1", "theta": "nonsense"}
        deposed = LeaderToken("scheduler", 1)
        if bench.ledger.put_plan(bench.fleet.pool, report.profile_id, head, "", None, deposed):
            raise AssertionError("a deposed leader's plan was taken")
        bench.ledger.put_plan(bench.fleet.pool, report.profile_id, {**head, "version": "999999999"}, "", None)
    time.sleep(2)
