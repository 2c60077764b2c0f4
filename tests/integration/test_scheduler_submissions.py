"""Producers that have only Celery: the queue ``synerdiff.submit`` into the ledger."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
import redis

from synerdiff.dispatch import QUEUE_SUBMIT, SUBMIT, Hints, celery_app
from synerdiff.ledger import Ledger, LedgerConfig
from synerdiff.protocol import JobState, Limits, ModelEntry
from synerdiff.scheduler.submissions import HELD, QUEUES, Submissions

MODEL = "tiny-emoji"


@pytest.fixture
def ledger(redis_client: redis.Redis, redis_url: str) -> Ledger:
    ledger = Ledger.connect(redis_url, LedgerConfig(max_queue=3, retry_after_s=0.01))
    ledger.put_model(ModelEntry(name=MODEL, pool=MODEL))
    return ledger


@pytest.fixture
def submissions(ledger: Ledger, redis_url: str) -> Submissions:
    hints = Hints(celery_app(redis_url))
    stop = threading.Event()
    return Submissions(redis.Redis.from_url(redis_url), ledger, hints, model=MODEL, limits=Limits(), stop=stop)


def send(redis_url: str, *args: Any, task_id: str | None = None, **kwargs: Any) -> str:
    """Send as a producer's own Celery would."""
    app = celery_app(redis_url)
    with app.connection_for_write() as connection:
        sent = app.send_task(
            SUBMIT, args=args, kwargs=kwargs, task_id=task_id, queue=QUEUE_SUBMIT, connection=connection
        )
    return str(sent.id)


def test_fields_become_a_record_under_the_messages_id(
    ledger: Ledger, submissions: Submissions, redis_url: str, redis_client: redis.Redis
) -> None:
    task_id = send(redis_url, {"prompt": "a red boat", "steps": 4})
    assert submissions.take_one(1)
    view = ledger.get(task_id)
    assert view is not None
    assert (view.state, view.job.prompt, view.job.steps) == (JobState.QUEUED, "a red boat", 4)
    assert redis_client.llen(HELD) == 0
    assert not submissions.take_one(1)


def test_fields_may_be_keyword_arguments_with_an_id(ledger: Ledger, submissions: Submissions, redis_url: str) -> None:
    send(redis_url, id="mine-1", prompt="a green hat", model=MODEL)
    submissions.take_one(1)
    assert ledger.get("mine-1") is not None


def test_a_message_read_twice_makes_one_record(
    ledger: Ledger, submissions: Submissions, redis_url: str, redis_client: redis.Redis
) -> None:
    """Given a process that died between writing the record and forgetting the message."""
    send(redis_url, {"prompt": "a red boat", "seed": 1}, task_id="twice")
    redis_client.copy(QUEUE_SUBMIT, HELD)
    submissions.take_one(1)
    submissions.recover()
    assert submissions.take_one(1)
    assert ledger.load(MODEL).queued == 1
    assert not ledger.dead_letters()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"prompt": "x", "steps": 0}, "steps"),
        ({"prompt": "x", "model": "no-such"}, "no-such"),
        ({"prompt": "x", "colour": "red"}, "colour"),
        ({}, "prompt"),
    ],
)
def test_a_wrong_job_is_kept_as_a_dead_letter(
    ledger: Ledger, submissions: Submissions, redis_url: str, fields: dict[str, Any], reason: str
) -> None:
    send(redis_url, fields)
    submissions.take_one(1)
    ((kind, _body),) = ledger.dead_letters()
    assert kind.startswith("submit.invalid_job")
    assert reason in kind
    assert ledger.load(MODEL).queued == 0


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"headers": {"task": "other"}}',
        json.dumps({"headers": {"task": SUBMIT, "id": "a"}, "content-type": "application/json"}).encode(),
        json.dumps(
            {
                "headers": {"task": SUBMIT, "id": "a"},
                "content-type": "application/json",
                "body": "?",
                "properties": {"body_encoding": "base64"},
            }
        ).encode(),
        b"[" * 200_000,
    ],
)
def test_garbage_is_kept_as_a_dead_letter(
    ledger: Ledger, submissions: Submissions, redis_client: redis.Redis, raw: bytes
) -> None:
    redis_client.lpush(QUEUE_SUBMIT, raw)
    assert submissions.take_one(1)
    ((kind, _body),) = ledger.dead_letters()
    assert kind.startswith("submit.bad_message")
    assert redis_client.llen(HELD) == 0


def test_a_full_queue_makes_submissions_wait(
    ledger: Ledger, submissions: Submissions, redis_url: str, redis_client: redis.Redis
) -> None:
    for number in range(5):
        send(redis_url, {"prompt": "x"}, task_id=f"job-{number}")
    for _ in range(6):
        submissions.take_one(1)
    assert ledger.load(MODEL).queued == 3
    assert redis_client.llen(QUEUE_SUBMIT) == 2
    assert redis_client.llen(HELD) == 0
    ledger.cancel("job-0")
    submissions.take_one(1)
    assert ledger.get("job-3") is not None


def test_a_producers_own_priorities_are_read_too(
    ledger: Ledger, submissions: Submissions, redis_url: str, redis_client: redis.Redis
) -> None:
    send(redis_url, {"prompt": "x"}, task_id="low")
    redis_client.rename(QUEUE_SUBMIT, QUEUES[2])
    assert submissions.take_one(1)
    assert ledger.get("low") is not None
