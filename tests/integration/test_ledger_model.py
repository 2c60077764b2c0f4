"""The Lua scripts on a real Valkey against the model: any order of calls, repeated, late and out of turn."""

from __future__ import annotations

import os
from typing import Any

import hypothesis.strategies as st
import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from synerdiff.ledger import Claim, WorkerReport
from synerdiff.protocol.errors import JobNotFound, WrongState
from tests.ledger_audit import audit
from tests.ledger_holders import RESULT, HolderMachine
from tests.ledger_machine import LEASE_S, POOL, TTL_S, ids, repeats, workers
from tests.ledger_model import FINAL

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


class LedgerMachine(HolderMachine):
    """Random calls to one pool; every answer is predicted, every index checked after every step."""

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

    def delete(self, job_id: str) -> None:
        job = self.model.jobs.pop(job_id, None)
        view = self.ledger.delete(job_id).view
        assert (view is None) == (job is None)
        if view is not None and job is not None:
            assert view.state == ("cancelled" if job.open else job.state)

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
