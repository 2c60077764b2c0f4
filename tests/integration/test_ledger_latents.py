"""Latent checkpoints in the ledger, jobs that make way, and holders that are told to stop: all fenced, all bounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from synerdiff.ledger import Claim, Ledger, LedgerConfig, LedgerFull, ManualClock, WorkerReport
from synerdiff.protocol import Job, JobEvent, JobResult, JobState, Receipt, Timings
from tests.ledger_audit import audit

POOL = "pool"
DATA = bytes(range(256)) * 40  # not text in any encoding
RESULT = JobResult(images=[], timings=Timings(), receipt=Receipt())
TTL_S = 60.0


@pytest.fixture
def ledger(redis_client: redis.Redis) -> Ledger:
    made = Ledger(redis_client, LedgerConfig(clock=ManualClock()))
    made.heartbeat(WorkerReport(name="w", pool=POOL, capacity=2), 1e6)
    return made


def submit(ledger: Ledger, job_id: str, **fields: Any) -> None:
    ledger.submit(Job(id=job_id, model="m", prompt="p", width=64, height=64, seed=1, **fields), POOL)


def claim(ledger: Ledger, job_id: str, nonce: str = "n") -> Claim:
    answer = ledger.claim(job_id, worker="w", nonce=f"{job_id}{nonce}", lease_s=10)
    assert isinstance(answer, Claim), answer
    return answer


@pytest.mark.parametrize(("kept", "step", "trial"), [(20, 3, 5), (18, 3, 5), (8, 3, 3)])
def test_a_trial_is_counted_in_steps_of_one_image(ledger: Ledger, kept: int, step: int, trial: int) -> None:
    submit(ledger, "four", n=4, metadata={"n": "9"})
    first = claim(ledger, "four")
    ledger.progress("four", first.token, JobEvent(kind="step", step=step, steps=20))
    assert ledger.keep("four", first.token, kept, DATA, TTL_S)  # the steps of all four images
    ledger.hand_back("four", first.token, "it broke", "crashed")
    again = claim(ledger, "four", "again")
    assert (again.alone, again.trial, again.kept) == (True, trial, kept)


def test_the_next_claim_finds_what_the_last_holder_kept(ledger: Ledger) -> None:
    submit(ledger, "a")
    first = claim(ledger, "a")
    assert (first.kept, ledger.kept("a")) == (0, None)
    assert ledger.keep("a", first.token, 5, DATA, TTL_S)
    ledger.hand_back("a", first.token, "leaving")
    second = claim(ledger, "a", "again")
    assert (second.kept, ledger.kept("a")) == (5, DATA)


def test_a_late_holder_keeps_nothing(ledger: Ledger) -> None:
    submit(ledger, "a")
    first = claim(ledger, "a")
    ledger.hand_back("a", first.token, "leaving")
    assert not ledger.keep("a", first.token, 9, b"late", TTL_S)
    second = claim(ledger, "a", "again")
    assert ledger.keep("a", second.token, 3, DATA, TTL_S)
    assert not ledger.keep("a", first.token, 9, b"late", TTL_S)
    assert not ledger.keep("stranger", 1, 9, b"late", TTL_S)
    assert ledger.kept("a") == DATA


def test_calls_that_come_late_never_take_a_job_back(ledger: Ledger) -> None:
    submit(ledger, "a")
    token = claim(ledger, "a").token
    for steps, data in ((4, b"four"), (8, b"eight"), (4, b"four"), (8, b"eight")):
        assert ledger.keep("a", token, steps, data, TTL_S)
    assert ledger.kept("a") == b"eight"


def test_a_rerun_that_starts_over_replaces_what_it_did_not_use(ledger: Ledger) -> None:
    submit(ledger, "a")
    first = claim(ledger, "a")
    ledger.keep("a", first.token, 20, b"of another model", TTL_S)
    ledger.hand_back("a", first.token, "leaving")
    second = claim(ledger, "a", "again")
    assert ledger.keep("a", second.token, 4, DATA, TTL_S)
    assert ledger.kept("a") == DATA


@pytest.mark.parametrize("end", ["finish", "cancel", "delete"])
def test_no_end_of_a_job_leaves_its_latents(ledger: Ledger, redis_client: redis.Redis, end: str) -> None:
    submit(ledger, "a")
    token = claim(ledger, "a").token
    ledger.keep("a", token, 5, DATA, TTL_S)
    if end == "finish":
        ledger.finish("a", token, RESULT)
    elif end == "cancel":
        ledger.cancel("a")
    else:
        ledger.delete("a")
    assert not redis_client.exists("synerdiff:latents:a")
    assert not ledger.keep("a", token, 6, DATA, TTL_S)


def test_latents_of_a_job_that_waits_too_long_are_dropped(ledger: Ledger, redis_client: redis.Redis) -> None:
    submit(ledger, "a")
    ledger.keep("a", claim(ledger, "a").token, 5, DATA, TTL_S)
    assert 0 < redis_client.pttl("synerdiff:latents:a") <= TTL_S * 1000
    redis_client.delete("synerdiff:latents:a")
    assert ledger.kept("a") is None


@pytest.fixture
def full_redis(redis_client: redis.Redis) -> Iterator[redis.Redis]:
    """A Redis that gets no memory beyond what it has, once the test asks for that."""
    yield redis_client
    redis_client.config_set("maxmemory", 0)


def test_a_full_redis_keeps_no_latents_and_the_job_goes_on(ledger: Ledger, full_redis: redis.Redis) -> None:
    submit(ledger, "a")
    token = claim(ledger, "a").token
    full_redis.config_set("maxmemory", 1)
    with pytest.raises(LedgerFull):
        ledger.keep("a", token, 5, DATA, TTL_S)
    assert ledger.finish("a", token, RESULT).accepted


def test_one_worker_is_asked_to_make_way_for_each_job_that_nobody_takes(ledger: Ledger) -> None:
    clock = ledger.config.clock
    assert clock is not None
    submit(ledger, "low", priority=3)
    claim(ledger, "low")
    submit(ledger, "urgent", priority=8)
    assert not ledger.make_way(POOL, 3, 3.0), "its hint may still be on its way"
    clock.advance(1.5)
    assert not ledger.make_way(POOL, 8, 3.0), "it is no more urgent than what the worker holds"
    assert ledger.make_way(POOL, 3, 3.0)
    assert not ledger.make_way(POOL, 3, 3.0), "somebody was asked already"
    clock.advance(3.5)
    assert ledger.make_way(POOL, 3, 3.0)
    claim(ledger, "urgent")
    clock.advance(3.5)
    assert not ledger.make_way(POOL, 3, 3.0)


def test_a_job_that_makes_way_rises_and_keeps_its_latents_and_a_retry_starts_afresh(
    ledger: Ledger, redis_client: redis.Redis
) -> None:
    submit(ledger, "low", priority=7)
    levels = []
    for turn in range(4):
        held = claim(ledger, "low", str(turn))
        levels.append((held.level, held.asides))
        ledger.keep("low", held.token, turn + 1, DATA, TTL_S)
        assert ledger.hand_back("low", held.token, "urgent", "aside").accepted
        assert ledger.hand_back("low", held.token, "urgent", "aside").accepted  # the reply was lost
        audit(redis_client, POOL)
    assert levels == [(7, 0), (8, 1), (9, 2), (9, 3)]
    held = claim(ledger, "low", "last")
    assert held.job.priority == 7
    assert held.kept == 4
    redis_client.hset("synerdiff:job:low", "alone", "1")
    for _ in range(3):
        ledger.hand_back("low", held.token, "it broke", "crashed")
        view = ledger.get("low")
        assert view is not None
        if view.state is JobState.DEAD:
            break
        held = claim(ledger, "low", f"crash{held.attempts}")
    assert ledger.retry("low").created
    again = claim(ledger, "low", "retried")
    assert (again.level, again.asides, again.kept, ledger.kept("low")) == (7, 0, 0, None)


def test_holders_hear_of_cancelled_and_expired_jobs_at_once(ledger: Ledger) -> None:
    clock = ledger.config.clock
    assert clock is not None
    for job_id in ("gone", "late", "done"):
        submit(ledger, job_id, deadline_s=5.0 if job_id == "late" else None)
    start = ledger.last_revoked(POOL)
    assert ledger.revoked(POOL, start, 0.01) == (set(), start)
    ledger.cancel("done")  # it was not running: nobody needs to hear
    claim(ledger, "gone")
    claim(ledger, "late")
    ledger.cancel("gone")
    ids, last = ledger.revoked(POOL, start, 1.0)
    assert ids == {"gone"}
    clock.advance(6.0)
    ledger.reap(POOL)
    assert ledger.revoked(POOL, last, 1.0)[0] == {"late"}
    assert ledger.revoked(POOL, ledger.last_revoked(POOL), 0.01)[0] == set()
