"""Producers that have only Celery: the queue ``synerdiff.submit`` into the ledger."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
import redis

from synerdiff.dispatch import QUEUE_SUBMIT, SUBMIT, Hints, celery_app
from synerdiff.ledger import Ledger, LedgerConfig, ManualClock, Submission
from synerdiff.protocol import Job, JobState, Limits, ModelEntry
from synerdiff.scheduler.inbox import ASIDE, HELD, QUEUES, TRIES
from synerdiff.scheduler.submissions import Submissions
from tests.support import wait_until

MODEL = "tiny-emoji"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def ledger(redis_client: redis.Redis, redis_url: str) -> Ledger:
    ledger = Ledger.connect(redis_url, LedgerConfig(max_queue=3, max_queue_per_tenant=2, retry_after_s=0.01))
    ledger.put_model(ModelEntry(name=MODEL, pool=MODEL))
    return ledger


@pytest.fixture
def submissions(ledger: Ledger, redis_url: str, clock: ManualClock) -> Submissions:
    hints = Hints(celery_app(redis_url))
    stop = threading.Event()
    return Submissions(
        redis.Redis.from_url(redis_url), ledger, hints, model=MODEL, limits=Limits(), stop=stop, clock=lambda: clock.now
    )


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
    assert submissions.take_one(1)
    view = ledger.get("mine-1")
    assert view is not None
    assert (view.state, view.job.prompt, view.job.model) == (JobState.QUEUED, "a green hat", MODEL)


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
        ({"prompt": "x", "model": "\ud800"}, r"model '\ud800' is not known; known: tiny-emoji"),
        ({"prompt": "x", "tenant": "\ud800"}, "tenant must be Unicode text"),
        ({"prompt": "x", "id": "\ud800"}, "id must be Unicode text"),
        ({"prompt": "x", "metadata": {"\ud800": "y"}}, r"metadata.\ud800 must be Unicode text"),
        ({"prompt": "x", "metadata": {"y": "\ud800"}}, "metadata.y must be Unicode text"),
        ({"prompt": "x", "\ud800": 1}, "must be Unicode text"),
    ],
)
def test_a_wrong_job_is_kept_as_a_dead_letter(
    ledger: Ledger,
    submissions: Submissions,
    redis_url: str,
    redis_client: redis.Redis,
    fields: dict[str, Any],
    reason: str,
) -> None:
    send(redis_url, fields)
    submissions.take_one(1)
    ((kind, _body),) = ledger.dead_letters()
    assert kind.startswith("submit.invalid_job")
    assert reason in kind
    assert ledger.load(MODEL).queued == 0
    assert not redis_client.exists(QUEUE_SUBMIT, HELD, ASIDE)


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
        *(
            json.dumps(
                {
                    "headers": {"task": SUBMIT, "id": "a"},
                    "content-type": "application/json",
                    "body": "\ud800",
                    "properties": {"body_encoding": encoding},
                }
            ).encode()
            for encoding in ("base64", "utf-8")
        ),
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
        send(redis_url, {"prompt": "x", "tenant": f"t{number}"}, task_id=f"job-{number}")
    for _ in range(6):
        submissions.take_one(1)
    assert ledger.load(MODEL).queued == 3
    assert redis_client.llen(QUEUE_SUBMIT) == 2
    assert redis_client.llen(HELD) == 0
    ledger.cancel("job-0")
    submissions.take_one(1)
    assert ledger.get("job-3") is not None


def test_a_tenant_over_its_quota_steps_aside_for_the_others(
    ledger: Ledger, submissions: Submissions, redis_url: str, redis_client: redis.Redis, clock: ManualClock
) -> None:
    for number in range(4):
        send(redis_url, {"prompt": "x", "tenant": "loud"}, task_id=f"loud-{number}")
    send(redis_url, {"prompt": "x", "tenant": "quiet"}, task_id="quiet")
    for _ in range(5):
        assert submissions.take_one(1)
    assert ledger.get("quiet") is not None
    assert [redis_client.llen(name) for name in (QUEUE_SUBMIT, HELD, ASIDE)] == [0, 0, 2]
    ledger.cancel("loud-0")
    clock.advance(10.0)
    submissions.take_one(1)
    assert ledger.get("loud-2") is not None
    assert ledger.get("loud-3") is None
    assert not ledger.dead_letters()


def test_what_was_set_aside_is_tried_a_few_times_only(
    ledger: Ledger, submissions: Submissions, redis_url: str, redis_client: redis.Redis, clock: ManualClock
) -> None:
    """Given more messages over a quota than are tried at a time, when they are due, then a newer one is not kept."""
    for number in range(TRIES + 10):
        send(redis_url, {"prompt": "x", "tenant": "loud"}, task_id=f"loud-{number}")
    while submissions.take_one(1):
        pass
    clock.advance(10.0)
    send(redis_url, {"prompt": "x", "tenant": "quiet"}, task_id="quiet")
    for _ in range(TRIES + 1):
        submissions.take_one(1)
    assert ledger.get("quiet") is not None
    assert redis_client.llen(ASIDE) == TRIES + 8


def test_an_error_of_ours_does_not_end_the_intake(
    ledger: Ledger, submissions: Submissions, redis_url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a mistake in our code that one message finds, then the next one is taken and the first is not lost."""
    real = ledger.submit

    def submit(job: Job, pool: str) -> Submission:
        if job.prompt == "odd":
            raise RuntimeError("a mistake")
        return real(job, pool)

    monkeypatch.setattr(ledger, "submit", submit)
    monkeypatch.setattr("synerdiff.scheduler.submissions.RETRY_S", 0.01)
    send(redis_url, {"prompt": "odd"}, task_id="odd")
    send(redis_url, {"prompt": "even"}, task_id="even")
    thread = threading.Thread(target=submissions.run, daemon=True)
    thread.start()
    wait_until(lambda: ledger.get("even"), what="the second job")
    assert thread.is_alive()
    submissions.stop.set()
    thread.join(10)
    assert redis_client.llen(HELD) == 1
    monkeypatch.undo()
    submissions.recover()
    submissions.take_one(1)
    assert ledger.get("odd") is not None


def test_a_producers_own_priorities_are_followed_in_one_call_a_message(
    ledger: Ledger, submissions: Submissions, redis_url: str, redis_client: redis.Redis
) -> None:
    """Given a message in each of kombu's lists, filled from the least urgent; 0 is the most urgent of Celery's."""
    for level in (3, 2, 1, 0):
        send(redis_url, {"prompt": "x", "tenant": f"t{level}"}, task_id=f"level-{level}")
        if level:
            redis_client.rename(QUEUE_SUBMIT, QUEUES[level])
    for level in (0, 1, 2):
        assert submissions.take_one(1)
        assert ledger.get(f"level-{level}") is not None
        assert ledger.get(f"level-{level + 1}") is None
    before = redis_client.info("commandstats")
    ledger.cancel("level-0")
    assert submissions.take_one(1)
    assert ledger.get("level-3") is not None
    assert redis_client.info("commandstats").get("cmdstat_blmove") == before.get("cmdstat_blmove")
