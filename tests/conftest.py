"""Fixtures that all tests share: a real Redis and a real S3 for the session, clean for each test."""

from __future__ import annotations

import os

# Before anything imports torch: spinning OpenMP threads collapse on cores that other processes use too.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "passive"
os.environ["HF_HUB_OFFLINE"] = "1"
for _name in [name for name in os.environ if name.startswith("SYNERDIFF_")]:
    del os.environ[_name]

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from synerdiff.cli.embedded import EmbeddedRedis, EmbeddedS3, S3Access
from synerdiff.protocol.errors import Unavailable

S3_KEYS = ("test-access-key", "test-secret-key")


def _unavailable(error: Unavailable) -> None:
    """Skip with the reason on a laptop that lacks the server; fail under CI."""
    if os.environ.get("CI"):
        raise error
    pytest.skip(str(error))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """One Valkey server for the session; use ``redis_client`` or ``redis_url`` for a clean one."""
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"))
    try:
        server.start()
    except Unavailable as error:
        _unavailable(error)
    yield server
    server.stop()


@pytest.fixture
def redis_client(redis_server: EmbeddedRedis) -> Iterator[redis.Redis]:
    """A client (text responses) of the session's Redis, which is empty when the test starts."""
    client = redis.Redis.from_url(redis_server.url, decode_responses=True)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis, redis_client: redis.Redis) -> str:
    """The address of the session's Redis, which is empty when the test starts."""
    return redis_server.url


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A Valkey server of the test's own, to be stopped, killed and started again."""
    server = EmbeddedRedis(tmp_path / "redis")
    try:
        server.start()
    except Unavailable as error:
        _unavailable(error)
    yield server
    server.kill()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedS3]:
    """One SeaweedFS server for the session; use ``s3`` for a bucket of the test's own."""
    server = EmbeddedS3(tmp_path_factory.mktemp("s3"), S3_KEYS, bucket="session")
    try:
        server.start()
    except Unavailable as error:
        _unavailable(error)
    yield server
    server.stop()


@pytest.fixture
def s3(s3_server: EmbeddedS3) -> S3Access:
    """How to reach an empty bucket of the test's own on the session's S3."""
    return s3_server.make_bucket(f"test-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def own_s3(tmp_path: Path) -> Iterator[EmbeddedS3]:
    """A SeaweedFS server of the test's own, to be stopped, killed and started again."""
    server = EmbeddedS3(tmp_path / "s3", S3_KEYS, bucket="images")
    try:
        server.start()
    except Unavailable as error:
        _unavailable(error)
    yield server
    server.kill()
