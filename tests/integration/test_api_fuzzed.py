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
from tests.fake_worker import MODEL, FakeWorker
from tests.gateway_server import Served, served

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
JOB = "fuzzed-job"


@pytest.fixture
def here(redis_url: str, s3: S3Access) -> Iterator[Served]:
    given = {
        "redis_url": redis_url,
        "s3_endpoint": s3.endpoint,
        "s3_bucket": s3.bucket,
        "s3_access_key": s3.access_key,
        "s3_secret_key": s3.secret_key,
        "limits": {"max_side": 128, "max_n": 2, "max_steps": 25},  # what is accepted is made, and waited for
    }
    with served(Settings.model_validate(given)) as here:
        backend = here.gateway.backend
        with FakeWorker(backend.ledger, backend.store).running():
            backend.submit({"id": JOB, "prompt": "a red apple", "steps": 1})
            yield here


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_request_finds_a_hole(here: Served, mode: GenerationMode) -> None:
    document: Any = schemathesis.openapi.from_url(f"{here.url}/openapi.json")
    operations = [result.ok() for result in document.get_all_operations()]
    assert len(operations) >= 10
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and not (operation.body or operation.headers or operation.path_parameters):
            continue  # nothing to get wrong
        cases = operation.as_strategy(generation_mode=mode)
        _fuzz(cases)
        if mode is GenerationMode.POSITIVE and (operation.body or operation.path_parameters):
            _fuzz(cases.map(_of_what_is_there))
    if mode is GenerationMode.POSITIVE:
        assert _answered(here, "/v1/jobs", 202)
        assert _answered(here, "/v1/images/generations", 200)


def _of_what_is_there(case: Any) -> Any:
    """A request for the model that is served, about the job that is stored: few others get past the first check."""
    if isinstance(case.body, dict):
        case.body |= {"model": MODEL, "webhook": None, "id": None}
    if case.path_parameters:
        case.path_parameters["job_id"] = JOB
    return case


def _answered(here: Served, route: str, status: int) -> bool:
    count = here.gateway.metrics.requests.labels(method="POST", route=route, status=str(status))
    return bool(count._value.get())


def _fuzz(cases: Any) -> None:
    @settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
    @given(cases)
    def check(case: Any) -> None:
        case.call_and_validate(checks=CHECKS, timeout=60)

    check()
