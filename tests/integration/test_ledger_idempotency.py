"""Idempotency keys: what they answer, and how long they live."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from synerdiff.cli.embedded import EmbeddedRedis
from synerdiff.ledger import Claim, Ledger, LedgerConfig, WorkerReport
from synerdiff.protocol import Job, JobState
from synerdiff.protocol.errors import IdempotencyConflict
from synerdiff.workers.worker import warn_of_acl
from tests.ledger_fleet import LEASE_S, POOL, TTL_S, state
from tests.support import wait_until


def test_an_idempotency_key_gives_the_first_job_again(redis_client: redis.Redis) -> None:
    ledger = Ledger(redis_client)
    first = Job(model="m", prompt="p", width=64, height=64)
    again = Job(model="m", prompt="p", width=64, height=64)
    assert first.seed != again.seed
    assert ledger.submit(first, POOL, idempotency_key="k").created
    answer = ledger.submit(again, POOL, idempotency_key="k")
    assert (answer.id, answer.created) == (first.id, False)
    with pytest.raises(IdempotencyConflict, match="'k'"):
        ledger.submit(Job(model="m", prompt="q", width=64, height=64), POOL, idempotency_key="k")
    with pytest.raises(IdempotencyConflict):
        ledger.submit(Job(id=first.id, model="m", prompt="q", width=64, height=64), POOL)


def test_a_deleted_job_leaves_a_key_that_is_another_jobs_by_now(redis_client: redis.Redis) -> None:
    ledger = Ledger(redis_client)
    first, second = (Job(model="m", prompt="p", width=64, height=64, seed=seed) for seed in (1, 2))
    ledger.submit(first, POOL, idempotency_key="k")
    redis_client.delete("synerdiff:idem:default:k")
    ledger.submit(second, POOL, idempotency_key="k")
    ledger.delete(first.id)
    assert str(redis_client.get("synerdiff:idem:default:k")).startswith(second.id)
    ledger.delete(second.id)
    assert not redis_client.exists("synerdiff:idem:default:k")


def test_an_idempotency_key_lives_as_long_as_its_jobs_record(redis_client: redis.Redis) -> None:
    ledger = Ledger(redis_client, LedgerConfig(result_ttl_s=0.2, dead_ttl_s=1000.0, max_attempts=1))
    job = Job(model="m", prompt="p", width=64, height=64, seed=1)
    key, record = "synerdiff:idem:default:k", f"synerdiff:job:{job.id}"

    def again() -> str:
        return ledger.submit(Job(model="m", prompt="p", width=64, height=64, seed=1), POOL, idempotency_key="k").id

    ledger.submit(job, POOL, idempotency_key="k")
    submitted_at = ledger.server_time()
    wait_until(lambda: ledger.server_time() > submitted_at + 0.4, what="longer than a result is kept")
    assert (again(), redis_client.pttl(key)) == (job.id, -1)
    ledger.heartbeat(WorkerReport(name="w", pool=POOL, capacity=1), TTL_S)
    for turn in range(2):  # in company, then alone
        claim = ledger.claim(job.id, worker="w", nonce=f"n{turn}", lease_s=LEASE_S)
        assert isinstance(claim, Claim)
        ledger.hand_back(job.id, claim.token, "it broke", "crashed")
    assert state(ledger, job.id) is JobState.DEAD
    assert redis_client.pttl(key) > 900_000
    assert redis_client.pexpiretime(key) == redis_client.pexpiretime(record)
    assert ledger.retry(job.id).created
    assert (again(), redis_client.pttl(key)) == (job.id, -1)
    ledger.cancel(job.id)
    wait_until(lambda: not redis_client.exists(record), what="the record to go")
    wait_until(lambda: not redis_client.exists(key), what="the key to go with it")
    other = again()
    assert other != job.id
    ledger.delete(other)
    assert not redis_client.exists(key)


def test_a_worker_says_that_an_older_acl_file_keeps_idempotency_keys(
    redis_client: redis.Redis, redis_server: EmbeddedRedis, capsys: pytest.CaptureFixture[str]
) -> None:
    admin: Any = redis_client  # redis-py leaves execute_command untyped
    admin.execute_command("ACL", "SETUSER", "older", "on", ">pw", "~synerdiff:job:*", "+@all")
    older = Ledger.connect(f"redis://older:pw@127.0.0.1:{redis_server.port}/0")
    try:
        warn_of_acl(older)
        assert "`synerdiff acl`" in capsys.readouterr().out
        admin.execute_command("ACL", "SETUSER", "older", "%W~synerdiff:idem:*")
        warn_of_acl(older)
        assert capsys.readouterr().out == ""
    finally:
        older.close()
        admin.execute_command("ACL", "DELUSER", "older")
