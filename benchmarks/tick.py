"""What a scheduler tick costs: CPU of the scheduler, and of Redis, with a big fleet and a long queue.

Run ``python -m benchmarks.tick [--workers 500] [--jobs 100000] [--ticks 30] [--json]``. Workers hold as many jobs as
they can, each with a report as real ones send it; hints that nobody has claimed lie in Celery's queue.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import mean

from synerdiff.cli.embedded import EmbeddedRedis
from synerdiff.dispatch import Hints, celery_app
from synerdiff.ledger import Ledger, WorkerReport
from synerdiff.ledger.values import SlotSpan
from synerdiff.policy import profile_document
from synerdiff.policy.shipped import shipped_profile
from synerdiff.protocol import Job
from synerdiff.scheduler.service import Scheduler

POOL = "sdxl"
CAPACITY = 16
LEASE_S = 3600.0
PROMPT = "a watercolour of a lighthouse at dusk, soft light, detailed, on textured paper"


class Fleet:
    """Workers and jobs as a ledger sees them; nobody works."""

    def __init__(self, url: str, workers: int, jobs: int) -> None:
        self.ledger = Ledger.connect(url)
        self.hints = Hints(celery_app(url))
        self._profile = shipped_profile("h100-sdxl-1024")
        self._workers = workers
        self._jobs = jobs
        self._beats = 0

    def fill(self) -> None:
        """Register the workers, submit the jobs, send the hints, and claim what the workers hold."""
        self.ledger.put_profile(self._profile.profile_id, profile_document(self._profile))
        self.beat()
        released: list[str] = []
        for start in range(0, self._jobs, 500):
            jobs = [job(number) for number in range(start, min(start + 500, self._jobs))]
            released += [job_id for each in self.ledger.submit_many(jobs, POOL) for job_id in each.released]
        held = self._workers * CAPACITY
        for number, job_id in enumerate(released[:held]):
            self.ledger.claim(job_id, worker=f"w{number // CAPACITY}", nonce="n", lease_s=LEASE_S)
        self.hints.send(POOL, released[held:])

    def beat(self) -> None:
        """Every worker's heartbeat."""
        self._beats += 1
        for number in range(self._workers):
            self.ledger.heartbeat(self._report(number), LEASE_S)

    def _report(self, number: int) -> WorkerReport:
        now = time.time()
        spans: list[SlotSpan] = [(now + slot / 10, 0.1, 0.08, 0.02, 14, 2, 3) for slot in range(40)]
        slot = {"predicted_s": 0.1, "measured_s": 0.11, "rows": 14, "chunks": 2, "active": 7, "waiting": 1}
        totals = {"predicted_total_s": 10.0 * self._beats, "measured_total_s": 10.1 * self._beats}
        return WorkerReport(
            name=f"w{number}",
            pool=POOL,
            host="gpu-node",
            capacity=CAPACITY,
            running=CAPACITY,
            profile_id=self._profile.profile_id,
            plan_version=7,
            plan_source="planned",
            device=self._profile.device,
            slot=slot | totals,
            slots=spans,
        )


def job(number: int) -> Job:
    """One of many alike."""
    return Job(id=f"j{number}", model=POOL, prompt=PROMPT, width=1024, height=1024, steps=30, tenant=f"t{number % 4}")


def measure(fleet: Fleet, ticks: int) -> dict[str, float]:
    """Seconds of CPU a tick, the first left out: it reads everything anew and makes the plan's table."""
    scheduler = Scheduler(fleet.ledger, fleet.hints, tick_s=1.0)
    scheduler.tick()
    spent, served = [], []
    for _ in range(ticks):
        fleet.beat()
        server, begun = server_cpu(fleet), time.process_time()
        scheduler.tick()
        spent.append(time.process_time() - begun)
        served.append(server_cpu(fleet) - server)
    load = fleet.ledger.load(POOL)
    return {
        "workers": load.workers,
        "open_jobs": load.queued + load.running,
        "running": load.running,
        "released": load.released,
        "scheduler_cpu_s_mean": mean(spent),
        "scheduler_cpu_s_max": max(spent),
        "redis_cpu_s_mean": mean(served),
        "redis_cpu_s_max": max(served),
    }


def server_cpu(fleet: Fleet) -> float:
    """CPU seconds that Redis has used."""
    info = fleet.ledger.client.info("cpu")
    return float(info["used_cpu_sys"]) + float(info["used_cpu_user"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--ticks", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        server = EmbeddedRedis(Path(directory))
        server.start()
        try:
            fleet = Fleet(server.url, options.workers, options.jobs)
            fleet.fill()
            found = measure(fleet, options.ticks)
        finally:
            server.stop()
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name.replace('_', ' '):24} {value:.4f}" if "cpu" in name else f"{name:24} {value:.0f}")


if __name__ == "__main__":
    main()
