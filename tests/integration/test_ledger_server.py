"""The ledger on a Redis that is full, evicts, cannot be reached or is stopped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from synerdiff.cli.embedded import EmbeddedRedis
from synerdiff.ledger import Claim, Ledger, Renewal, WorkerReport
from synerdiff.protocol import ErrorInfo, JobState
from synerdiff.protocol.errors import LedgerUnavailable, Overloaded, UnsafeBroker
from tests.ledger_audit import audit
from tests.ledger_fleet import POOL, RESULT, state, submit


@pytest.fixture
def full_redis(own_redis: EmbeddedRedis) -> Iterator[redis.Redis]:
    """A Redis whose memory is full; what is in it was put there before."""
    client = redis.Redis.from_url(own_redis.url, decode_responses=True)
    yield client
    client.config_set("maxmemory", 0)
    client.close()


def test_a_full_redis_refuses_submits_and_lets_jobs_end(full_redis: redis.Redis) -> None:
    ledger = Ledger(full_redis)
    ledger.heartbeat(WorkerReport(name="w", pool=POOL, capacity=2), 60)
    submit(ledger, "a", "b", "c", "d")
    first = ledger.claim("a", worker="w", nonce="1", lease_s=10)
    assert isinstance(first, Claim)
    full_redis.config_set("maxmemory", 1)
    with pytest.raises(Overloaded, match="out of memory"):
        submit(ledger, "e")
    assert ledger.renew("w", {"a": first.token}, 10) == {"a": Renewal.HELD}
    assert ledger.finish("a", first.token, RESULT).accepted
    second = ledger.claim("b", worker="w", nonce="2", lease_s=10)
    assert isinstance(second, Claim)
    assert ledger.fail("b", second.token, ErrorInfo(code="x", message="y")).accepted
    third = ledger.claim("c", worker="w", nonce="3", lease_s=10)
    assert isinstance(third, Claim)
    assert ledger.hand_back("c", third.token, "stopping").accepted
    assert ledger.cancel("d").accepted
    ledger.reap(POOL)
    full_redis.config_set("maxmemory", 0)
    audit(full_redis, POOL)


def test_an_evicting_redis_is_refused_with_the_cure(own_redis: EmbeddedRedis) -> None:
    ledger = Ledger.connect(own_redis.url)
    ledger.check_server()
    ledger.client.config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(UnsafeBroker, match="CONFIG SET maxmemory-policy noeviction"):
        ledger.check_server()
    ledger.check_server(allow_unsafe=True)
    ledger.close()


def test_an_unreachable_redis_is_named_without_its_password() -> None:
    with pytest.raises(LedgerUnavailable, match=r"127\.0\.0\.1:1/3.*SYNERDIFF_REDIS_URL") as refusal:
        Ledger.connect("redis://user:s3cret@127.0.0.1:1/3")
    assert "s3cret" not in str(refusal.value)
    with pytest.raises(LedgerUnavailable, match="SYNERDIFF_REDIS_URL"):
        Ledger.connect("nonsense")


def test_a_stopped_redis_raises_and_a_restarted_one_has_everything(own_redis: EmbeddedRedis) -> None:
    ledger = Ledger.connect(own_redis.url)
    submit(ledger, "j")
    own_redis.stop()
    with pytest.raises(LedgerUnavailable):
        ledger.get("j")
    own_redis.start()
    assert state(ledger, "j") is JobState.QUEUED
    ledger.cancel("j")
    ledger.close()
