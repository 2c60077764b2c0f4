"""One JSON shape for every error."""

from __future__ import annotations

import json

import pytest

from synerdiff.api import errors
from synerdiff.protocol import FieldError, SynerDiffError
from synerdiff.protocol.errors import (
    IdempotencyConflict,
    InvalidJob,
    JobDead,
    JobFailed,
    JobNotFound,
    LedgerUnavailable,
    Overloaded,
    Unauthorized,
    UnsafeBroker,
    WaitTimeout,
)


def _body(error: SynerDiffError) -> dict[str, object]:
    found = json.loads(bytes(errors.reply(error).body))
    assert set(found) == {"error"}
    assert set(found["error"]) == {"code", "message", "field", "retryable", "docs", "errors"}
    return dict(found["error"])


def test_the_shape() -> None:
    assert _body(JobNotFound("no such job", field="id")) == {
        "code": "job_not_found",
        "message": "no such job",
        "field": "id",
        "retryable": False,
        "docs": "/docs/errors#job_not_found",
        "errors": [],
    }


def test_every_wrong_field_is_listed() -> None:
    wrong = [FieldError(field="steps", message="too many"), FieldError(field="n", message="too few")]
    body = _body(InvalidJob(wrong))
    assert body["field"] == "steps"
    assert body["errors"] == [{"field": "steps", "message": "too many"}, {"field": "n", "message": "too few"}]


@pytest.mark.parametrize(("seconds", "header"), [(0.0, "1"), (2.1, "3"), (30.0, "30")])
def test_backpressure_says_when_to_try_again(seconds: float, header: str) -> None:
    answer = errors.reply(Overloaded("the queue is full", retry_after_s=seconds))
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == header


def test_a_missing_key_is_challenged() -> None:
    answer = errors.reply(Unauthorized("send a key"))
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (JobFailed("it failed"), "false"),
        (JobDead("it crashed its workers"), "false"),
        (WaitTimeout("it runs on"), "false"),
        (IdempotencyConflict("other fields"), "false"),
        (Overloaded("full", retry_after_s=1.0), "true"),
        (LedgerUnavailable("away"), "true"),
        (errors.SlowBody("slow"), "true"),
    ],
)
def test_openai_clients_are_told_what_to_send_again(error: SynerDiffError, again: str) -> None:
    assert errors.reply(error).headers["x-should-retry"] == again


def test_any_text_can_be_sent_back() -> None:
    assert _body(InvalidJob([FieldError(field="\ud800", message="lone \ud800")]))["message"] == "lone \ud800"


def test_what_cannot_be_reached_for_now_says_when_to_come_back() -> None:
    assert int(errors.reply(LedgerUnavailable("Redis is away")).headers["Retry-After"]) > 0
    assert "Retry-After" not in errors.reply(UnsafeBroker("Redis may evict keys")).headers
