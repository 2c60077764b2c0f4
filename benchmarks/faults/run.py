"""One run: start the fleet, load it, inject, let everything end, judge."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import redis
from rich.progress import Progress

from benchmarks.faults import injections
from benchmarks.faults.bench import FAULTS, Bench, Fault
from benchmarks.faults.figures import Injected, row
from benchmarks.faults.fleet import Fleet
from benchmarks.faults.history import History, Watcher
from benchmarks.faults.invariants import DOUBLED, LEFT_OVER, LOST, End, judge
from benchmarks.faults.load import Load
from synerdiff.dispatch import Hints, celery_app
from synerdiff.ledger import Ledger
from synerdiff.protocol.errors import SynerDiffError

END_S = 900.0  # a job that is stuck is found all the same, only later
CALM_S = 60.0
FIRST_GRACE_S = 3.0  # by then the grace of a scheduler's first look makes no lease longer than a renewal does
PAUSE_S = (1.0, 5.0)

__all__ = ["FAULTS", "Plan", "injections", "run"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does. ``rounds``: end when each fault came so often; 0: go round until the minutes are over."""

    seed: int
    minutes: float
    faults: Sequence[str] = ()
    rounds: int = 0
    open_jobs: int = 10
    capacity: int = 4
    steps: int = 0


def order(plan: Plan, clock_moves: bool) -> Iterator[Fault]:
    """The faults in the seed's order: all of them, shuffled, before any comes again."""
    rng = random.Random(plan.seed)
    names = [name for name in (plan.faults or FAULTS) if clock_moves or not FAULTS[name].needs_clock]
    for _ in range(plan.rounds) if plan.rounds else itertools.count():
        yield from (FAULTS[name] for name in rng.sample(names, len(names)))


def run(plan: Plan, directory: Path, progress: Progress) -> dict[str, Any]:
    """Run the bench; the document of the report."""
    bar = progress.add_task("starting the fleet", total=plan.minutes * 60)
    history, begun = History(), time.monotonic()
    with contextlib.ExitStack() as stack:
        fleet = stack.enter_context(Fleet(directory, plan.capacity))
        ledger = Ledger.connect(fleet.redis.url)
        if not fleet.wait_whole(ledger):
            raise SystemExit(f"the workers did not start; see {directory / 'logs'}")
        time.sleep(FIRST_GRACE_S)
        admin = redis.Redis.from_url(fleet.redis.url, decode_responses=True)
        hints = Hints(celery_app(fleet.redis.url))
        load = Load(fleet.settings, history, random.Random(plan.seed), plan.open_jobs, plan.steps)
        bench = Bench(fleet, load, history, ledger, hints, admin, random.Random(plan.seed + 1))
        with Watcher(history, ledger), load:
            injected = _inject_all(bench, plan, progress, bar)
            load.stop()
            progress.update(bar, description="letting everything end")
            _let_end(bench)
        end = End(fleet, history, ledger, admin, bench.malformed)
        breaches = judge(end)
        document = _document(plan, bench, injected, end, breaches)
    return {**document, "minutes": (time.monotonic() - begun) / 60, "load_average": os.getloadavg()[0]}


def _inject_all(bench: Bench, plan: Plan, progress: Progress, bar: Any) -> list[Injected]:
    done: list[Injected] = []
    begun = time.monotonic()
    for fault in order(plan, bench.fleet.redis.clock_moves):
        bench.fleet.wait_whole(bench.ledger)
        if time.monotonic() - begun > plan.minutes * 60:
            break
        _calm(bench, done)
        bench.wait(lambda: len(bench.running()) > 1, 30)
        progress.update(bar, completed=time.monotonic() - begun, description=f"{len(done) + 1}: {fault.row}")
        done.append(_inject(bench, fault))
        minutes = (time.monotonic() - begun) / 60
        progress.console.print(f"{minutes:5.1f} min  {len(done):3}  {fault.row} {done[-1].error}", highlight=False)
        pause_until = time.monotonic() + bench.rng.uniform(*PAUSE_S)
        while time.monotonic() < pause_until:
            progress.update(bar, completed=time.monotonic() - begun)
            time.sleep(0.2)
    return done


def _calm(bench: Bench, done: list[Injected]) -> None:
    """Wait, up to a minute, until the last fault's jobs have ended: one fault's figures must not be the next one's."""
    hit = set(done[-1].hit) if done else set()
    bench.wait(lambda: not hit & set(bench.history.open()), CALM_S)
    bench.wait(lambda: not bench.ledger.load(bench.fleet.pool).quarantined, CALM_S)


def _inject(bench: Bench, fault: Fault) -> Injected:
    open_ids = set(bench.history.open())
    running = {view.id for view in bench.running()}
    bench.strike()
    injected = Injected(fault.name, fault.row, bench.struck_at, open=open_ids)
    try:
        hit = fault.inject(bench)
    except (SynerDiffError, redis.RedisError, psutil.Error, AssertionError) as error:
        injected.error, hit = f"{type(error).__name__}: {error}", None
    injected.hit = running if hit is None else hit
    injected.at = bench.struck_at
    injected.over()
    return injected


def _let_end(bench: Bench) -> None:
    bench.fleet.wait_whole(bench.ledger)
    bench.wait(lambda: not bench.history.open() and not bench.ledger.load(bench.fleet.pool).queued, END_S)
    bench.fleet.wait_whole(bench.ledger)
    bench.wait(lambda: not bench.admin.exists(f"synerdiff:discard:{bench.fleet.pool}"), END_S)
    bench.wait(lambda: all(not report.running for report in bench.fleet.reports(bench.ledger).values()), 30)


def _document(
    plan: Plan, bench: Bench, injected: list[Injected], end: End, breaches: dict[str, list[str]]
) -> dict[str, Any]:
    rows = [row(each, end) for each in injected]
    errors = [f"{each['fault']}: {each['error']}" for each in rows if each["error"]]
    breaches = {**breaches, "every fault could be injected": errors}
    skipped = [name for name, fault in FAULTS.items() if fault.needs_clock and not bench.fleet.redis.clock_moves]
    return {
        "seed": plan.seed,
        "capacity": plan.capacity,
        "steps": plan.steps,
        "passed": not any(breaches.values()),
        "accepted": len(bench.history.jobs),
        "refused": bench.history.refused,
        "lost": len(breaches[LOST]),
        "doubled": len(breaches[DOUBLED]),
        "left_over": sum(len(breaches[name]) for name in LEFT_OVER),
        "ends": dict(Counter(view.state.value for _, view in end.jobs())),
        "restarts": bench.fleet.restarts,
        "skipped": skipped,
        "faults": rows,
        "invariants": breaches,
    }
