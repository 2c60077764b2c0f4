"""Hints reach a real Celery worker, carry nothing but the id, and a dead broker is no error."""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

import pytest
import redis
from celery import Celery
from celery.contrib.testing.worker import start_worker

from synerdiff.dispatch import GENERATE, Hints, celery_app, queue, queue_name
from tests.support import wait_until

# Celery's in-process worker leaves its sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def consumer(app: Celery, seen: list[tuple[str, str]]) -> Any:
    @app.task(name=GENERATE, bind=True)  # type: ignore[untyped-decorator]
    def generate(self: Any, job_id: str) -> None:
        seen.append((self.request.id, job_id))

    return generate


def test_a_celery_worker_runs_hints_under_the_jobs_own_id(redis_url: str) -> None:
    seen: list[tuple[str, str]] = []
    app = celery_app(redis_url)
    app.conf.task_queues = [queue(queue_name("pool"))]
    consumer(app, seen)
    ids = [f"job_{n}-x" for n in range(30)]
    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
        assert Hints(app).send("pool", ids) == ()
        wait_until(lambda: len(seen) >= len(ids), what="all hints")
    assert sorted(seen) == sorted((job_id, job_id) for job_id in ids)


def test_a_hint_matches_what_celery_itself_would_send(redis_client: redis.Redis, redis_url: str) -> None:
    app = celery_app(redis_url)
    Hints(app).send("pool", ["a"])
    app.send_task(GENERATE, ["a"], task_id="a", queue=queue(queue_name("pool")), ignore_result=True)
    stock, ours = (json.loads(raw) for raw in redis_client.lrange("synerdiff.pool", 0, 1))
    assert ours["headers"] == stock["headers"]
    assert json.loads(ours["body"]) == json.loads(base64.b64decode(stock["body"]))
    assert set(stock["properties"]) - set(ours["properties"]) == {"reply_to", "body_encoding"}
    assert "synerdiff.pool" in redis_client.keys("synerdiff.*")
    assert redis_client.type("synerdiff.pool") == "list"


def test_hints_that_cannot_be_sent_are_named(redis_url: str) -> None:
    hints = Hints(celery_app("redis://127.0.0.1:1/0"))
    assert hints.send("pool", ["a", "b"]) == ("a", "b")
    assert hints.send("pool", []) == ()


def test_threads_share_one_sender_without_losing_or_mixing_hints(redis_client: redis.Redis, redis_url: str) -> None:
    hints = Hints(celery_app(redis_url))
    threads = [threading.Thread(target=hints.send, args=("pool", [f"{t}-{n}" for n in range(50)])) for t in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sent = [json.loads(raw) for raw in redis_client.lrange("synerdiff.pool", 0, -1)]
    assert sorted(message["headers"]["id"] for message in sent) == sorted(
        f"{t}-{n}" for t in range(4) for n in range(50)
    )
    assert len({message["properties"]["delivery_tag"] for message in sent}) == 200
