"""Fixtures of the tests that talk to a gateway: its settings, one that is served, a client and a worker of it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from synerdiff.cli.embedded import S3Access
from synerdiff.protocol import ModelEntry
from synerdiff.settings import Settings
from tests.fake_worker import MODEL, POOL, FakeWorker
from tests.gateway_server import Served, served


@pytest.fixture
def settings(redis_url: str, s3: S3Access) -> Settings:
    return Settings.model_validate(
        {
            "redis_url": redis_url,
            "s3_endpoint": s3.endpoint,
            "s3_bucket": s3.bucket,
            "s3_access_key": s3.access_key,
            "s3_secret_key": s3.secret_key,
        }
    )


@pytest.fixture
def here(settings: Settings) -> Iterator[Served]:
    with served(settings) as found:
        found.gateway.backend.ledger.put_model(ModelEntry(name=MODEL, pool=POOL))
        yield found


@pytest.fixture
def http(here: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=here.url, timeout=30) as client:
        yield client


@pytest.fixture
def worker(here: Served) -> Iterator[FakeWorker]:
    with FakeWorker(here.gateway.backend.ledger, here.gateway.backend.store).running() as worker:
        yield worker
