"""The Lua scripts on a real Valkey against the model: any order of calls, repeated, late and out of turn."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import hypothesis.strategies as st
import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from synerdiff.ledger import Claim, Ledger, LedgerConfig, ManualClock, Refused, WorkerReport
from synerdiff.protocol import ErrorInfo, Job, JobEvent, JobResult, Receipt, Timings
from synerdiff.protocol.errors import IdempotencyConflict, JobNotFound, WrongState
from synerdiff.protocol.event import EventKind
from tests.ledger_audit import audit
from tests.ledger_model import FINAL, Model, ModelJob, ModelWorker

POOL = "pool"
LEASE_S, TTL_S = 4.0, 3.0
RESULT = JobResult(images=[], timings=Timings(), receipt=Receipt())
ERROR = ErrorInfo(code="engine_error", message="the device failed")
Answer = TypeVar("Answer")

ids = st.sampled_from([f"job{n}" for n in range(6)])
workers = st.sampled_from(["w0", "w1", "w2"])
repeats = st.booleans()
kinds: st.SearchStrategy[EventKind] = st.sampled_from(["step", "step", "step", "preview", "image"])
endings = st.sampled_from(["succeeded", "failed", "back", "crash", "aside", "proven"])
OPERATOR = [
    "cancel",
    "cancel",
    "cancel",
    "retry",
    "retry",
    "delete",
    "deregister",
    "pause",
    "resume",
    "resume",
    "resume",
]


def latents(steps: int, token: int) -> bytes:
    """A checkpoint that says whose it is; not text in any encoding."""
    return b"\xff" + f"{steps} {token}".encode()


class LedgerMachine(RuleBasedStateMachine):
    """Random calls to one pool; every answer is predicted, every index checked after every step."""

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

    def aside(self) -> set[str]:
        """The workers that are set aside."""
        found: Any = self.ledger.client.hkeys(f"synerdiff:alone:{POOL}")
        return set(found)

    def heartbeat(self, worker: str, state: Any, capacity: int) -> None:
        self.ledger.heartbeat(WorkerReport(name=worker, pool=POOL, capacity=capacity, state=state), TTL_S)
        self.model.workers[worker] = ModelWorker(self.clock.now + TTL_S, self.clock.now)
        self.peak = max(self.peak, self.ledger.load(POOL).capacity)

    @rule(worker=workers, job_id=ids, state=st.sampled_from(["ready", "draining", "silent"]), repeat=repeats)
    def one_claim(self, worker: str, job_id: str, state: str, repeat: bool) -> None:
        """A claim of any job, whether or not its turn has come and the worker is known."""
        if state != "silent":
            self.heartbeat(worker, state, 1)
        self.claim(job_id, worker, repeat=repeat)

    def claim(self, job_id: str, worker: str, *, repeat: bool) -> None:
        self.claims.append((job_id, worker, f"nonce{len(self.claims)}"))
        self.do_claim(*self.claims[-1], repeat=repeat)

    @rule(worker=workers, at_most=st.integers(1, 3))
    def work(self, worker: str, at_most: int) -> None:
        """What a worker in good health does: it says so, and claims what it has hints for."""
        self.heartbeat(worker, "ready", 2)
        at: Any = {job_id: self.client.hget(f"synerdiff:job:{job_id}", "place") for job_id in self.model.jobs}
        hinted = [job_id for job_id, place in at.items() if place in ("quarantine", "released")]
        for job_id in hinted[:at_most]:
            self.claim(job_id, worker, repeat=False)

    @rule(what=st.sampled_from(["worker_dies", "worker_hangs", "reap", "wait"]), worker=workers, data=st.data())
    def time_goes_on(self, what: str, worker: str, data: st.DataObject) -> None:
        if what == "worker_dies":
            self.worker_dies(worker)
        elif what == "worker_hangs":
            self.worker_hangs(worker)
        elif what == "reap":
            self.reap(repeat=data.draw(repeats))
        else:
            self.clock.advance(data.draw(st.sampled_from([0.3, 1.0, 3.5, 4.5, 20.0])))

    def worker_dies(self, worker: str) -> None:
        """It falls silent, while the others go on and the reaper looks every second."""
        for _ in range(6):
            self.clock.advance(1.0)
            for other in {"w0", "w1", "w2"} - {worker}:
                self.heartbeat(other, "ready", 2)
                self.renew_all(other, repeat=False)
            self.reap(repeat=False)

    def worker_hangs(self, worker: str) -> None:
        """It lives, but its jobs make no progress, so it renews nothing."""
        for _ in range(6):
            self.clock.advance(1.0)
            self.heartbeat(worker, "ready", 2)
            self.reap(repeat=False)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def claim_arrives_late(self, data: st.DataObject) -> None:
        self.do_claim(*data.draw(st.sampled_from(self.claims)), repeat=False)

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

    @rule(data=st.data(), steps=st.integers(1, 20), repeat=repeats)
    def somebody_keeps_latents(self, data: st.DataObject, steps: int, repeat: bool) -> None:
        """A holder of now or of before, in any order."""
        if self.grants:
            job_id, _, token = data.draw(st.sampled_from(self.holding() or self.grants))
            if data.draw(st.integers(0, 3)) == 0:
                job_id, _, token = data.draw(st.sampled_from(self.grants))
            want = self.model.keep(job_id, token, steps)
            assert (
                self.twice(lambda: self.ledger.keep(job_id, token, steps, latents(steps, token), 1e6), repeat) == want
            )

    @rule(data=st.data(), steps=st.lists(st.integers(0, 20), min_size=1, max_size=3), kind=kinds, repeat=repeats)
    def somebody_tells_steps(self, data: st.DataObject, steps: list[int], kind: EventKind, repeat: bool) -> None:
        """A holder of now or of before, in any order; pictures are no reports of steps."""
        if self.grants:
            job_id, _, token = data.draw(st.sampled_from(self.holding() or self.grants))
            for step in steps:
                tell = partial(self.ledger.progress, job_id, token, JobEvent(kind=kind, step=step, steps=20))
                assert self.twice(tell, repeat) == self.model.progress(job_id, token, kind, step)

    @rule(worker=workers, repeat=repeats)
    def renew(self, worker: str, repeat: bool) -> None:
        self.renew_all(worker, repeat=repeat)

    def renew_all(self, worker: str, *, repeat: bool) -> None:
        mine = {job_id: token for job_id, holder, token in self.grants if holder == worker}
        now = self.clock.now
        want = {job_id: self.model.renew(job_id, token, worker, now, LEASE_S) for job_id, token in mine.items()}
        assert self.twice(lambda: self.ledger.renew(worker, mine, LEASE_S), repeat) == want

    def holding(self) -> list[tuple[str, str, int]]:
        """The grants in force; if there is none, a worker takes a job first."""
        held = [grant for grant in self.grants if self.holds(grant[0], grant[2])]
        if held:
            return held
        self.work("w0", 2)
        return [grant for grant in self.grants if self.holds(grant[0], grant[2])]

    @rule(data=st.data(), how=endings, repeat=repeats)
    def the_holder_ends_a_job(self, data: st.DataObject, how: str, repeat: bool) -> None:
        held = self.holding()
        if held:
            job_id, _, token = data.draw(st.sampled_from(held))
            self.end(job_id, token, how, repeat=repeat)

    @rule(data=st.data(), how=endings)
    def somebody_ends_it_too_late(self, data: st.DataObject, how: str) -> None:
        if self.grants:
            job_id, _, token = data.draw(st.sampled_from(self.grants))
            self.end(job_id, token, how, repeat=False)

    @rule(data=st.data(), how=endings, crashed=st.booleans())
    def a_job_changes_hands_and_the_old_holder_writes(self, data: st.DataObject, how: str, crashed: bool) -> None:
        held = self.holding()
        if held:
            job_id, _, token = data.draw(st.sampled_from(held))
            self.end(job_id, token, "crash" if crashed else "back", repeat=False)
            self.heartbeat("w2", "ready", 2)
            self.claim(job_id, "w2", repeat=False)
            self.end(job_id, token, how, repeat=False)

    def end(self, job_id: str, token: int, how: str, *, repeat: bool) -> None:
        step = len(self.grants) if repeat else None
        calls = {
            "succeeded": lambda: self.ledger.finish(job_id, token, RESULT),
            "failed": lambda: self.ledger.fail(job_id, token, ERROR),
            "back": lambda: self.ledger.hand_back(job_id, token, "shutdown"),
            "aside": lambda: self.ledger.hand_back(job_id, token, "a more urgent job waited", "aside"),
            "proven": lambda: self.ledger.hand_back(job_id, token, "it got past its trial", "proven"),
            "crash": lambda: self.ledger.hand_back(job_id, token, "the engine died", "crashed", step),
        }
        if how in FINAL:
            want = self.model.end(job_id, token, how, self.clock.now)
        else:
            want = self.model.hand_back(job_id, token, how, self.clock.now, step)
        answer = self.twice(calls[how], repeat)
        assert (answer.accepted, answer.state) == want

    def holds(self, job_id: str, token: int) -> bool:
        job = self.model.jobs.get(job_id)
        return job is not None and (job.state, job.token) == ("running", token)

    def cancel(self, job_id: str, *, repeat: bool) -> None:
        job = self.model.jobs.get(job_id)
        if job is None:
            with pytest.raises(JobNotFound):
                self.ledger.cancel(job_id)
            return
        if job.open:
            job.state = "cancelled"
        answer = self.twice(lambda: self.ledger.cancel(job_id), repeat)
        assert (answer.accepted, answer.state) == (job.state == "cancelled", job.state)

    def retry(self, job_id: str) -> None:
        job = self.model.jobs.get(job_id)
        if job is None or job.state in ("succeeded", "cancelled", "expired"):
            with pytest.raises(JobNotFound if job is None else WrongState):
                self.ledger.retry(job_id)
            return
        assert self.ledger.retry(job_id).created == (not job.open)
        if not job.open:
            job.state, job.attempts, job.lapses, job.created_at = "queued", 0, 0, self.clock.now
            job.asides, job.kept = 0, (0, 0)
            job.suspect, job.trial, job.clear, job.tried = False, None, None, False
            job.step = 0

    @rule(job_id=ids, worker=workers, action=st.sampled_from(OPERATOR), repeat=repeats)
    def operator(self, job_id: str, worker: str, action: str, repeat: bool) -> None:
        if action == "cancel":
            self.cancel(job_id, repeat=repeat)
        elif action == "retry":
            self.retry(job_id)
        elif action == "delete":
            self.delete(job_id)
        elif action == "deregister":
            self.ledger.deregister(worker)
            self.model.workers.pop(worker, None)
        elif action == "pause":
            self.ledger.pause(POOL)
            self.claim(job_id, worker, repeat=False)
            if repeat:
                self.ledger.resume(POOL)
        else:
            self.ledger.resume(POOL)

    def delete(self, job_id: str) -> None:
        job = self.model.jobs.pop(job_id, None)
        view = self.ledger.delete(job_id).view
        assert (view is None) == (job is None)
        if view is not None and job is not None:
            assert view.state == ("cancelled" if job.open else job.state)

    def reap(self, *, repeat: bool) -> None:
        self.twice(lambda: self.ledger.reap(POOL), repeat)
        self.model.reap(self.clock.now)

    def no_more_is_released_than_fits(self, stored: dict[str, dict[str, str]]) -> None:
        """Jobs that run alone come from quarantine, not from the queue; capacity may shrink below what is held."""
        at = [record["place"] for record in stored.values() if record.get("alone") != "1"]
        held = at.count("released") + at.count("leased")
        assert held <= max(self.held, 2 * self.peak)
        self.held, self.peak = held, self.ledger.load(POOL).capacity

    @invariant()
    def every_record_is_as_promised(self) -> None:
        stored = audit(self.client, POOL)
        assert set(stored) == set(self.model.jobs), "a record was lost or made up"
        self.no_more_is_released_than_fits(stored)
        for job_id, record in stored.items():
            job = self.model.jobs[job_id]
            assert record["state"] == job.state, (job_id, record, job)
            assert job.state != "queued" or (record["place"] == "quarantine") == job.suspect, (job_id, record, job)
            assert int(record.get("attempts", 0)) == job.attempts <= self.ledger.config.max_attempts
            assert ("result" in record) == (job.state == "succeeded")
            assert bool(self.client.exists(f"synerdiff:latents:{job_id}")) == (job.open and job.kept[0] > 0)
            told: Any = self.client.xrange(f"synerdiff:events:{job_id}")
            assert sum(fields["kind"] in FINAL for _, fields in told) == (not job.open), (
                "an end was told twice, or never"
            )

    def teardown(self) -> None:
        """Whatever happened, one healthy worker brings every open job to its end, and soon."""
        if not hasattr(self, "ledger"):
            return
        self.ledger.resume(POOL)
        report = WorkerReport(name="last", pool=POOL, capacity=4)
        for turn in range(60):
            self.clock.advance(1.0)
            self.ledger.heartbeat(report, TTL_S)
            self.ledger.reap(POOL)
            for job_id in self.ledger.due_hints(POOL, 100):
                claim = self.ledger.claim(job_id, worker="last", nonce=f"last{turn}", lease_s=LEASE_S)
                if isinstance(claim, Claim):
                    assert self.ledger.finish(job_id, claim.token, RESULT).accepted
            if not self.client.exists("synerdiff:jobs:open:pool"):
                break
        assert self.ledger.load(POOL).queued == self.ledger.load(POOL).running == 0, "a job is stuck"
        audit(self.client, POOL)


def test_the_scripts_keep_every_promise_of_the_model(redis_client: redis.Redis) -> None:
    LedgerMachine.client = redis_client
    examples = int(os.environ.get("LEDGER_EXAMPLES", "50"))
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            derandomize="LEDGER_EXAMPLES" not in os.environ,
            database=None,
            phases=[Phase.generate],  # shrinking takes longer than a test may; the first failure's steps are printed
            suppress_health_check=list(HealthCheck),
        ),
    )
