"""A pool under random calls, each answer predicted by the model: its jobs, its workers and their claims.

What holders of jobs do is in ``ledger_holders``; operators, time and the promises kept after each step are in
``integration/test_ledger_model.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import hypothesis.strategies as st
import pytest
import redis
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from synerdiff.ledger import Claim, Ledger, LedgerConfig, ManualClock, Refused, WorkerReport
from synerdiff.protocol import Job
from synerdiff.protocol.errors import IdempotencyConflict
from tests.ledger_model import Model, ModelJob, ModelWorker

POOL = "pool"
LEASE_S, TTL_S = 4.0, 3.0
Answer = TypeVar("Answer")

ids = st.sampled_from([f"job{n}" for n in range(6)])
workers = st.sampled_from(["w0", "w1", "w2"])
repeats = st.booleans()


def latents(steps: int, token: int) -> bytes:
    """A checkpoint that says whose it is; not text in any encoding."""
    return b"\xff" + f"{steps} {token}".encode()


class ClaimMachine(RuleBasedStateMachine):
    """Jobs are submitted, and workers claim them, in their turn and out of it."""

    client: redis.Redis

    @initialize(priorities=st.lists(st.sampled_from([1, 5, 9]), min_size=2, max_size=6))
    def start(self, priorities: list[int]) -> None:
        self.client.flushall()
        self.clock = ManualClock()
        config = LedgerConfig(clock=self.clock, max_attempts=2, max_queue=1000)
        self.ledger = Ledger(self.client, config)
        self.model = Model(config.max_attempts, config.reap_gap_s, config.lease_grace_s)
        self.claims: list[tuple[str, str, str]] = []
        self.grants: list[tuple[str, str, int]] = []
        self.tokens: dict[str, int] = {}
        self.held = self.peak = 0
        for worker in ("w0", "w1"):
            self.heartbeat(worker, "ready", 2)
        for n, priority in enumerate(priorities):
            self.submit(f"job{n}", "ab"[n % 2], priority, None)

    def twice(self, call: Callable[[], Answer], repeat: bool) -> Answer:
        """Call; with ``repeat`` the reply was lost and the call is sent again."""
        return (call(), call())[1] if repeat else call()

    @rule(
        job_id=ids,
        tenant=st.sampled_from(["a", "b"]),
        priority=st.sampled_from([1, 5, 9]),
        deadline_s=st.sampled_from([None, None, 20.0]),
    )
    def submit(self, job_id: str, tenant: str, priority: int, deadline_s: float | None) -> None:
        job = Job(
            id=job_id, model="m", prompt="p", width=64, height=64, seed=1,
            tenant=tenant, priority=priority, deadline_s=deadline_s,
        )  # fmt: skip
        old = self.model.jobs.get(job_id)
        fields = (tenant, priority, deadline_s)
        if old is not None and old.fields != fields:
            with pytest.raises(IdempotencyConflict):
                self.ledger.submit(job, POOL)
            return
        assert self.ledger.submit(job, POOL).created == (old is None)
        if old is None:
            self.model.jobs[job_id] = ModelJob(fields, deadline_s, self.clock.now)

    def heartbeat(self, worker: str, state: Any, capacity: int) -> None:
        self.ledger.heartbeat(WorkerReport(name=worker, pool=POOL, capacity=capacity, state=state), TTL_S)
        self.model.workers[worker] = ModelWorker(self.clock.now + TTL_S, self.clock.now)
        self.peak = max(self.peak, self.ledger.load(POOL).capacity)

    def reap(self, *, repeat: bool) -> None:
        self.twice(lambda: self.ledger.reap(POOL), repeat)
        self.model.reap(self.clock.now)

    def aside(self) -> set[str]:
        """The workers that are set aside."""
        found: Any = self.ledger.client.hkeys(f"synerdiff:alone:{POOL}")
        return set(found)

    def claim(self, job_id: str, worker: str, *, repeat: bool) -> None:
        self.claims.append((job_id, worker, f"nonce{len(self.claims)}"))
        self.do_claim(*self.claims[-1], repeat=repeat)

    def do_claim(self, job_id: str, worker: str, nonce: str, *, repeat: bool) -> None:
        place: Any = self.client.hget(f"synerdiff:job:{job_id}", "place")
        before = self.expected_refusal(job_id, worker, nonce, place)
        answer = self.twice(lambda: self.ledger.claim(job_id, worker=worker, nonce=nonce, lease_s=LEASE_S), repeat)
        if isinstance(answer, Claim):
            assert before in (None, "again", "aside"), before
            self.granted(job_id, worker, nonce, answer, place == "quarantine")
        else:
            allowed = ("alone", "drain", "busy", "elsewhere") if before == "aside" else (before,)
            assert isinstance(answer, Refused)
            assert answer.reason in allowed, (answer, before)

    def expected_refusal(self, job_id: str, worker: str, nonce: str, place: str | None) -> str | None:
        """The reason to expect; None: granted, 'again': the same grant, 'aside': depends on jobs that run alone."""
        job, now = self.model.jobs.get(job_id), self.clock.now
        if job is None:
            return "unknown"
        if job.state == "running":
            return "again" if (job.nonce, job.worker) == (nonce, worker) else "claimed"
        if job.state != "queued":
            return job.state
        if job.late(now):
            job.state = "expired"
            return "expired"
        if job.nonce == nonce:
            return "stale"
        if place == "waiting":
            return "not_released"
        if self.client.hget("synerdiff:counters:pool", "paused") == "1":
            return "paused"
        known = self.model.workers.get(worker)
        if known is None or known.alive_until <= now:
            return "unregistered"
        return "aside" if place == "quarantine" or self.client.exists("synerdiff:alone:pool") else None

    def granted(self, job_id: str, worker: str, nonce: str, claim: Claim, quarantined: bool) -> None:
        job = self.model.jobs[job_id]
        assert claim.level == min(9, claim.job.priority + job.asides)
        assert (claim.asides, claim.kept) == (job.asides, job.kept[0])
        assert self.ledger.kept(job_id) == (latents(*job.kept) if job.kept[0] else None)
        if job.state == "running":
            assert claim.token == job.token
        else:
            assert claim.token > self.tokens.get(job_id, 0), "a fencing token was used twice"
            assert claim.alone == quarantined == job.suspect
            assert (claim.trial, claim.clear) == ((job.trial, job.clear) if quarantined else (None, None))
            job.state, job.token, job.nonce, job.worker, job.alone = "running", claim.token, nonce, worker, claim.alone
            job.step = job.told = job.stride = 0
            self.tokens[job_id] = claim.token
            self.grants.append((job_id, worker, claim.token))
        job.lease_until = self.clock.now + LEASE_S

    @rule(worker=workers, job_id=ids, state=st.sampled_from(["ready", "draining", "silent"]), repeat=repeats)
    def one_claim(self, worker: str, job_id: str, state: str, repeat: bool) -> None:
        """A claim of any job, whether or not its turn has come and the worker is known."""
        if state != "silent":
            self.heartbeat(worker, state, 1)
        self.claim(job_id, worker, repeat=repeat)

    @rule(worker=workers, at_most=st.integers(1, 3))
    def work(self, worker: str, at_most: int) -> None:
        """What a worker in good health does: it says so, and claims what it has hints for."""
        self.heartbeat(worker, "ready", 2)
        at: Any = {job_id: self.client.hget(f"synerdiff:job:{job_id}", "place") for job_id in self.model.jobs}
        hinted = [job_id for job_id, place in at.items() if place in ("quarantine", "released")]
        for job_id in hinted[:at_most]:
            self.claim(job_id, worker, repeat=False)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def claim_arrives_late(self, data: st.DataObject) -> None:
        self.do_claim(*data.draw(st.sampled_from(self.claims)), repeat=False)

    @rule(worker=workers, how=st.sampled_from(["ask", "take", "still"]), repeat=repeats)
    def a_full_worker_asks(self, worker: str, how: Any, repeat: bool) -> None:
        """It is told of a suspect that waits; set aside is at most half of the fleet, at least one."""
        before = self.aside()
        suspect = self.ledger.set_aside(POOL, worker, how)
        if repeat:
            assert self.ledger.set_aside(POOL, worker, how) == suspect
        if suspect is None:
            assert self.aside() <= before
            return
        job = self.model.jobs[suspect]
        assert (job.state, job.suspect) == ("queued", True)
        assert (worker in self.aside()) == (how == "take" or worker in before)
        if worker not in before:
            assert worker in self.model.workers
            assert len(before) < max(1, len(self.model.workers) // 2)
