"""Every endpoint under generated requests, good and bad: no server error, no answer outside the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from synerdiff.cli.embedded import S3Access
from synerdiff.settings import Settings
from tests.fake_worker import FakeWorker
from tests.gateway_server import served

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]


@pytest.fixture
def document(redis_url: str, s3: S3Access) -> Iterator[Any]:
    given = {
        "redis_url": redis_url,
        "s3_endpoint": s3.endpoint,
        "s3_bucket": s3.bucket,
        "s3_access_key": s3.access_key,
        "s3_secret_key": s3.secret_key,
        "limits": {"max_side": 128, "max_n": 2, "max_steps": 5},  # what is accepted is made, and waited for
    }
    with served(Settings.model_validate(given)) as here:
        backend = here.gateway.backend
        with FakeWorker(backend.ledger, backend.store).running():
            yield schemathesis.openapi.from_url(f"{here.url}/openapi.json")


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_request_finds_a_hole(document: Any, mode: GenerationMode) -> None:
    operations = [result.ok() for result in document.get_all_operations()]
    assert len(operations) >= 10
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and not (operation.body or operation.headers or operation.path_parameters):
            continue  # nothing to get wrong
        _fuzz(operation.as_strategy(generation_mode=mode))


def _fuzz(cases: Any) -> None:
    @settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
    @given(cases)
    def check(case: Any) -> None:
        case.call_and_validate(checks=CHECKS, timeout=60)

    check()
