"""The measurements: how the cost of a tick, a claim and an open job grow, and what a whole job's life takes."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.scale.meter import Meter
from benchmarks.scale.workload import LEASE_S, POOL, PROFILE, SLOT_S, jobs, profile_document, report
from synerdiff.cli.figures import percentile
from synerdiff.dispatch import Hints, celery_app, queue_name
from synerdiff.ledger import Claim, Ledger, LedgerConfig, ManualClock
from synerdiff.protocol import ModelEntry
from synerdiff.scheduler.service import Scheduler

WARM_TICKS = 45  # past the longest wait between two hints for one job
TICKS = 30
CLAIMS = 300
LATE_S = 20_000.0  # how far the manual clock starts behind the real one, which it must not overtake
HOSTS = 4
LOOK_S = 0.5
IDLE_S = 8.0

Say = Callable[[str], None]


class Growth:
    """Grows one ledger, workers first, then jobs, and measures it at each size; time is moved by hand."""

    def __init__(self, url: str, say: Say) -> None:
        self.clock = ManualClock(time.time() - LATE_S)
        self.ledger = Ledger.connect(url, LedgerConfig(clock=self.clock, max_queue=10**7))
        self.meter = Meter(self.ledger.client)
        self._hints = Hints(celery_app(url))
        self._scheduler = Scheduler(self.ledger, self._hints, 1.0, clock=lambda: self.clock.now)
        self._say = say
        self.open_jobs = 0
        self.workers = 0
        self.ledger.reap(POOL)  # the first reaping grants everybody some grace, which no heartbeat renews here
        self.ledger.put_profile(PROFILE, profile_document())
        self.ledger.put_model(ModelEntry(name=POOL, pool=POOL))

    def submit_up_to(self, count: int) -> dict[str, float]:
        """Submit until ``count`` jobs are open; the cost of one."""
        new, memory = count - self.open_jobs, self.meter.memory()
        made = [jobs(first, min(1000, count - first)) for first in range(self.open_jobs, count, 1000)]
        with self.meter.measure() as cost:
            for batch in made:
                self.ledger.submit_many(batch, POOL)
        self.open_jobs = count
        return {**cost.over(new), "memory_bytes": (self.meter.memory() - memory) / new}

    def register_up_to(self, count: int) -> None:
        """Register workers until there are ``count``."""
        for number in range(self.workers, count):
            self.ledger.heartbeat(report(f"w{number}"), ttl_s=1e6)
        self.workers = count

    def at_this_size(self) -> dict[str, float]:
        """What a tick and a claim cost now."""
        self._say(f"{self.workers} workers, {self.open_jobs} open jobs")
        tick, claim = self._tick(), self._claim()
        found = {f"tick_{name}": value for name, value in tick.items()} | {
            f"claim_{name}": value for name, value in claim.items()
        }
        return {"workers": self.workers, "open_jobs": self.open_jobs, **found}

    def _tick(self) -> dict[str, float]:
        for _ in range(WARM_TICKS):
            self._tick_once()
        with self.meter.measure() as cost:
            for _ in range(TICKS):
                self._tick_once()
        return cost.over(TICKS)

    def _tick_once(self) -> None:
        self.clock.advance(1.0)
        if not self._scheduler.tick():
            raise SystemExit("another scheduler leads this ledger")

    def _claim(self) -> dict[str, float]:
        """Claim and give back released jobs, as workers that take turns."""
        ids = self.released()[:CLAIMS]
        waited = []
        tokens: dict[str, int] = {}
        with self.meter.measure() as cost:
            for number, job_id in enumerate(ids):
                started = time.perf_counter()
                answer = self.ledger.claim(
                    job_id, worker=f"w{number % self.workers}", nonce=f"{self.clock.now}-{number}", lease_s=LEASE_S
                )
                waited.append(time.perf_counter() - started)
                if not isinstance(answer, Claim):
                    raise SystemExit(f"a claim was refused: {answer.reason}")
                tokens[job_id] = answer.token
        for job_id, token in tokens.items():
            self.ledger.hand_back(job_id, token, "measured")
        return {**cost.over(len(ids)), "wall_p50_s": percentile(waited, 0.5), "wall_p99_s": percentile(waited, 0.99)}

    def released(self) -> list[str]:
        """Jobs that may be claimed."""
        return [job_id for job_id, _ in self.ledger.range_scored(f"released:{POOL}:5")]

    def close(self) -> None:
        """Close the connections."""
        self._hints.close()
        self.ledger.close()


@contextlib.contextmanager
def hosts(url: str, workers: int, *, beat: bool) -> Iterator[None]:
    """Processes that serve as so many workers."""
    each = workers // HOSTS
    command = [sys.executable, "-m", "benchmarks.scale.host", url]
    running = [
        subprocess.Popen([*command, str(number * each), str(each), "1" if beat else "0"]) for number in range(HOSTS)
    ]
    try:
        yield
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait(60)


class Life:
    """Takes jobs from hint to result through real Celery workers; the real clock runs and no scheduler ticks."""

    def __init__(self, url: str, say: Say) -> None:
        self.url = url
        self.ledger = Ledger.connect(url, LedgerConfig(max_queue=10**7))
        self.meter = Meter(self.ledger.client)
        self._hints = Hints(celery_app(url))
        self._say = say

    def rest(self, workers: int) -> dict[str, float]:
        """What one worker that has nothing to do costs in a second: its heartbeat, and reading its plan."""
        self.ledger.client.delete(queue_name(POOL))
        with self._serving(workers, beat=True):
            self._say("a fleet at rest")
            with self.meter.measure() as cost:
                time.sleep(IDLE_S)
        return without_client(cost.over(workers * cost.wall_s))

    def run(self, count: int, workers: int, released: list[str]) -> dict[str, Any]:
        """Finish at least ``count`` jobs; the cost of one."""
        with self._serving(workers, beat=False):
            self._say(f"{count} jobs through Celery")
            aof = self._aof()
            with self.meter.measure() as cost:
                self._hints.send(POOL, released[:count])
                while (done := self._done()) < count:
                    time.sleep(LOOK_S)
            aof = self._aof() - aof
        calls = {name: round(n / done, 2) for name, n in sorted(cost.calls.items(), key=lambda item: -item[1])}
        return {
            "jobs": done,
            "slot_s": SLOT_S,
            "job": without_client(cost.over(done)) | {"aof_bytes": aof / done},
            "calls": {name: n for name, n in calls.items() if n >= 0.05},
        }

    @contextlib.contextmanager
    def _serving(self, workers: int, *, beat: bool) -> Iterator[None]:
        with hosts(self.url, workers, beat=beat):
            while sum(client["cmd"] == "brpop" for client in self.ledger.client.client_list()) < HOSTS:
                time.sleep(0.2)
            yield

    def finished_memory(self, count: int) -> float:
        """Bytes of Redis that a finished job keeps until its record expires."""
        client, found = self.ledger.client, []
        for job in jobs(0, count * 50):
            if client.hget(f"synerdiff:job:{job.id}", "state") == "succeeded":
                keys = (f"synerdiff:job:{job.id}", f"synerdiff:events:{job.id}")
                found.append(sum(int(client.memory_usage(key, samples=0) or 0) for key in keys))
            if len(found) == count:
                break
        return sum(found) / len(found)

    def _done(self) -> int:
        """Jobs that succeeded, for the price of one command: it is asked for while costs are counted."""
        return int(self.ledger.client.hget(f"synerdiff:counters:{POOL}", "total:succeeded") or 0)

    def _aof(self) -> int:
        return int(self.ledger.client.info("persistence")["aof_current_size"])


def without_client(figures: dict[str, float]) -> dict[str, float]:
    """Without this process's CPU time, which is not that of the hosts."""
    return {name: value for name, value in figures.items() if name != "client_cpu_s"}
