"""Opens the connection to Redis, and checks that it is one that keeps jobs."""

from __future__ import annotations

import redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import NoPermissionError, ResponseError
from redis.retry import Retry

from synerdiff.ledger.address import open_client, where
from synerdiff.ledger.failures import translated
from synerdiff.ledger.scripts import text
from synerdiff.protocol.errors import UnsafeBroker

CONNECT_TIMEOUT_S = 3.0
ANSWER_TIMEOUT_S = 5.0


def connect(url: str) -> redis.Redis:
    """A client that gives up on a silent server after seconds, and tries a lost call three times.

    Trying again is safe: every script is idempotent. Raises :class:`LedgerUnavailable`.
    """
    client = open_client(
        url,
        decode_responses=True,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=ANSWER_TIMEOUT_S,
        socket_keepalive=True,
        health_check_interval=15,
        retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), 3),
    )
    with translated(client):
        client.ping()
    return client


def check_server(client: redis.Redis, *, allow_unsafe: bool) -> None:
    """Refuse a Redis that may drop keys when its memory is full.

    Raises :class:`UnsafeBroker` with the command that mends it. Where ``CONFIG`` is not allowed (managed
    services), INFO's ``maxmemory_policy`` is read.
    """
    if allow_unsafe:
        return
    with translated(client):
        try:
            policy = dict(client.config_get("maxmemory-policy")).get("maxmemory-policy")
        except ResponseError:
            policy = client.info("memory").get("maxmemory_policy")
    if text(policy) != "noeviction":
        raise UnsafeBroker(
            f"Redis at {where(client)} has maxmemory-policy {text(policy)}, so it may drop jobs when its memory is "
            "full; run `redis-cli CONFIG SET maxmemory-policy noeviction` and write the same into its configuration"
        )


def may_end_keys(client: redis.Redis, prefix: str) -> bool:
    """Whether this user may let idempotency keys expire with the records of the jobs that it ends."""
    with translated(client):
        try:
            client.pexpire(f"{prefix}idem:probe", 1)  # no key of a job: theirs name a tenant too
        except NoPermissionError:
            return False
    return True
