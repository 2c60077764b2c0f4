"""What a burst of one tenant does to the others: the real ledger in virtual time, Poisson arrivals, every wait counted.

Run ``python -m benchmarks.burst [--slots 16] [--tenants 7] [--load 0.8] [--seeds 2]``. Every tenant asks for the same
share of ``load``; in the burst one of them asks for ten times that. A job takes a second. Virtual time holds on a busy
machine.
"""

from __future__ import annotations

import argparse
import heapq
import random
import tempfile
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import redis

from synerdiff.cli.embedded import EmbeddedRedis
from synerdiff.ledger import Claim, Ledger, LedgerConfig, ManualClock, WorkerReport
from synerdiff.protocol import Job, JobResult, Receipt, Timings

POOL = "burst"
LOUD = "loud"
SERVICE_S = 1.0
TIMES = 10
RESULT = JobResult(images=[], timings=Timings(), receipt=Receipt())


@dataclass(slots=True)
class Served:
    """One job: who asked for it, and when it was submitted and begun, in seconds."""

    tenant: str
    submitted: float
    begun: float = -1.0

    @property
    def wait_s(self) -> float:
        """From submission to end."""
        return self.begun + SERVICE_S - self.submitted


@dataclass(frozen=True, slots=True)
class Play:
    """One run: ``slots`` jobs at a time, ``tenants`` with ``rate`` jobs a second each, a burst in ``[start, end)``."""

    slots: int
    tenants: int
    rate: float
    length_s: float = 60.0
    burst: tuple[float, float] | None = None
    seed: int = 1

    @property
    def quiet(self) -> list[str]:
        """Everybody but the one that bursts."""
        return [f"quiet{number}" for number in range(self.tenants - 1)]

    def arrivals(self) -> list[tuple[float, str]]:
        """The quiet tenants' are the same with and without a burst."""
        rng, found = random.Random(self.seed), []
        for tenant in (*self.quiet, LOUD):
            at = 0.0
            while at < self.length_s:
                bursting = self.burst is not None and tenant == LOUD and self.burst[0] <= at < self.burst[1]
                at += rng.expovariate(self.rate * (TIMES if bursting else 1))
                found.append((at, tenant))
        return sorted(found)

    def run(self, client: redis.Redis) -> list[Served]:
        """Every job, in the order of submission; ``client`` is emptied first."""
        client.flushall()
        clock = ManualClock()
        start = clock.now
        ledger = Ledger(client, LedgerConfig(clock=clock))
        hints = deque(ledger.heartbeat(WorkerReport(name="w", pool=POOL, capacity=self.slots), 1e6))
        sequence = count()
        events = [(at, next(sequence), tenant, 0) for at, tenant in self.arrivals()]
        heapq.heapify(events)
        jobs: dict[str, Served] = {}
        running = 0
        while events:
            at, _, name, token = heapq.heappop(events)
            clock.now = start + at
            if token:
                running -= 1
                hints += ledger.finish(name, token, RESULT).released
            else:
                job = Job(id=f"j{len(jobs)}", model="m", prompt="p", width=64, height=64, seed=1, tenant=name)
                jobs[job.id] = Served(name, at)
                hints += ledger.submit(job, POOL).released
            while hints and running < self.slots:
                job_id = hints.popleft()
                claim = ledger.claim(job_id, worker="w", nonce=job_id, lease_s=1e6)
                assert isinstance(claim, Claim)
                running += 1
                jobs[job_id].begun = at
                heapq.heappush(events, (at + SERVICE_S, next(sequence), job_id, claim.token))
        return list(jobs.values())


def p99(waits: Sequence[float]) -> float:
    """The 99th percentile."""
    return sorted(waits)[int(0.99 * (len(waits) - 1))]


def main() -> None:
    """Print the others' 99th percentile with and without the burst."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--tenants", type=int, default=7)
    parser.add_argument("--load", type=float, default=0.8)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    rate = options.load * options.slots / options.tenants
    print(f"{'seed':>4} {'P99 s, calm':>12} {'in the burst':>13} {'ratio':>6} {'loud P99 s':>11}")
    with tempfile.TemporaryDirectory() as directory:
        server = EmbeddedRedis(Path(directory))
        server.start()
        try:
            with redis.Redis.from_url(server.url, decode_responses=True) as client:
                for seed in range(1, options.seeds + 1):
                    calm, burst = (
                        Play(options.slots, options.tenants, rate, burst=span, seed=seed).run(client)
                        for span in (None, (20.0, 40.0))
                    )
                    before, after = (p99([job.wait_s for job in jobs if job.tenant != LOUD]) for jobs in (calm, burst))
                    loud = p99([job.wait_s for job in burst if job.tenant == LOUD])
                    print(f"{seed:4} {before:12.2f} {after:13.2f} {after / before:6.2f} {loud:11.1f}")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
