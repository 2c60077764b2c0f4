"""Workers of a simulated fleet that share a real ledger, on a clock moved by hand."""

from __future__ import annotations

from typing import Any

import redis

from synerdiff.ledger import Claim, Ledger, LedgerConfig, ManualClock, Refused, WorkerReport
from synerdiff.protocol import Job, JobResult, JobState, Receipt, Timings

POOL = "pool"
LEASE_S = TTL_S = 10.0
TRIAL_S = 0.7  # half a second past the crash, and what it takes to come there from the latents
RESULT = JobResult(images=[], timings=Timings(), receipt=Receipt())


class Fleet:
    """Workers of a simulated fleet on a clock moved by hand; some jobs kill the worker that runs them."""

    def __init__(self, client: redis.Redis, *, capacity: int, poison: set[str] | None = None) -> None:
        self.clock = ManualClock()
        self.ledger = Ledger(client, LedgerConfig(clock=self.clock))
        self.capacity, self.poison = capacity, poison or set()
        self.claims: dict[str, dict[str, Claim]] = {}
        self.born = 0
        self.lease_s, self.ttl_s = LEASE_S, TTL_S

    def start_worker(self) -> str:
        self.born += 1
        name = f"w{self.born}"
        self.claims[name] = {}
        self.beat(name)
        return name

    def beat(self, name: str) -> None:
        self.ledger.heartbeat(WorkerReport(name=name, pool=POOL, capacity=self.capacity), self.ttl_s)

    def claim(self, name: str, job_id: str) -> Claim | Refused:
        answer = self.ledger.claim(job_id, worker=name, nonce=f"{name}-{job_id}-{self.clock.now}", lease_s=self.lease_s)
        if isinstance(answer, Claim):
            self.claims[name][job_id] = answer
        return answer

    def granted(self, name: str, job_id: str) -> Claim:
        """A claim that the ledger must grant."""
        answer = self.claim(name, job_id)
        assert isinstance(answer, Claim), answer
        return answer

    def prove(self, name: str, claim: Claim) -> tuple[str, ...]:
        """A job that ran alone for long enough is let back into company; the jobs to send hints for."""
        if not claim.alone or self.clock.now - claim.claimed_at < TRIAL_S:
            return ()
        del self.claims[name][claim.job.id]
        return self.ledger.hand_back(claim.job.id, claim.token, "it got past the crash", "proven").released

    def second(self, *, finish: bool, advance_s: float = 1.0) -> None:
        """One second: every live worker beats and renews, hints go round, some jobs finish, poison kills."""
        self.clock.advance(advance_s)
        self.ledger.reap(POOL)
        hints = self.ledger.due_hints(POOL, 100)
        for n, name in enumerate(list(self.claims)):
            self.beat(name)
            held = self.claims[name]
            self.ledger.renew(name, {job_id: claim.token for job_id, claim in held.items()}, self.lease_s)
            for job_id in list(held) if finish else []:
                if job_id not in self.poison:
                    assert self.ledger.finish(job_id, held.pop(job_id).token, RESULT).accepted
            for job_id in hints[n :: len(self.claims)]:
                if len(held) < self.capacity:
                    self.claim(name, job_id)
            if finish and self.poison & set(held):
                del self.claims[name]
                self.start_worker()


def submit(ledger: Ledger, *ids: str, **fields: Any) -> None:
    jobs = [Job(id=job_id, model="m", prompt="p", width=64, height=64, seed=1, **fields) for job_id in ids]
    ledger.submit_many(jobs, POOL)


def state(ledger: Ledger, job_id: str) -> JobState:
    view = ledger.get(job_id)
    assert view is not None
    return view.state


def one_claimed(client: redis.Redis, **fields: Any) -> tuple[Fleet, str, Claim]:
    """A fleet of one worker, its name, and its claim of the job ``j`` with these ``fields``."""
    fleet = Fleet(client, capacity=1)
    name = fleet.start_worker()
    submit(fleet.ledger, "j", **fields)
    return fleet, name, fleet.granted(name, "j")
