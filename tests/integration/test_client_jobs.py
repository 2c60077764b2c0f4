"""The clients against a real Redis and a real S3, with a worker that makes flat images."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from synerdiff.cli.embedded import EmbeddedRedis
from synerdiff.client import (
    AsyncClient,
    Client,
    CorruptObject,
    IdempotencyConflict,
    InvalidJob,
    JobCancelled,
    JobFailed,
    JobFields,
    JobNotFound,
    JobState,
    LedgerUnavailable,
    Overloaded,
    UnknownModel,
    WaitTimeout,
)
from synerdiff.settings import Settings
from synerdiff.storage import read_receipt
from tests.fake_worker import MODEL, POOL, FakeWorker

STEPS = 3


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    with Client(settings) as client:
        yield client


@pytest.fixture
def idle_worker(client: Client) -> FakeWorker:
    return FakeWorker(client.backend.ledger, client.backend.store)


@pytest.fixture
def worker(idle_worker: FakeWorker) -> Iterator[FakeWorker]:
    with idle_worker.running():
        yield idle_worker


def test_a_job_is_submitted_waited_for_and_downloaded(client: Client, worker: FakeWorker, tmp_path: Path) -> None:
    job_id = client.submit(prompt="a fox", steps=STEPS, n=2, seed=7, format="webp")
    view = client.wait(job_id, timeout_s=20)
    assert view.state is JobState.SUCCEEDED
    assert [image.seed for image in view.images] == [7, 8]
    assert all(image.url is None for image in view.images)
    paths = client.download(job_id, tmp_path / "out")
    assert [path.name for path in paths] == [f"{job_id}-0.webp", f"{job_id}-1.webp"]
    for path, image in zip(paths, view.images, strict=True):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == image.sha256
        receipt = read_receipt(path)
        assert receipt is not None
        assert receipt.job_id == job_id
    assert sorted(item.name for item in (tmp_path / "out").iterdir()) == [path.name for path in paths]


def test_urls_are_made_when_asked_for(client: Client, worker: FakeWorker) -> None:
    job_id = client.submit(prompt="a fox", steps=1)
    (image,) = client.wait(job_id, timeout_s=20, urls=True).images
    assert image.url is not None
    with urllib.request.urlopen(image.url) as reply:
        assert hashlib.sha256(reply.read()).hexdigest() == image.sha256
    (stored,) = client.get(job_id).images
    assert stored.url is None


def test_a_hint_is_sent_for_what_is_released(
    client: Client, idle_worker: FakeWorker, redis_client: redis.Redis
) -> None:
    idle_worker.register()
    job_id = client.submit(prompt="a secret fox")
    messages: list[Any] = redis_client.lrange(f"synerdiff.{POOL}", 0, -1)
    assert len(messages) == 1
    assert job_id in messages[0]
    assert "secret fox" not in messages[0]


def test_without_a_worker_a_job_waits_and_no_hint_is_sent(
    client: Client, idle_worker: FakeWorker, redis_client: redis.Redis
) -> None:
    job_id = client.submit(prompt="a fox", model=MODEL)
    assert client.get(job_id).state is JobState.QUEUED
    assert redis_client.llen(f"synerdiff.{POOL}") == 0
    assert [entry.name for entry in client.models()] == [MODEL]


def test_events_are_followed_to_the_end_and_from_the_middle(client: Client, worker: FakeWorker) -> None:
    job_id = client.submit(prompt="a fox", steps=STEPS)
    events = list(client.events(job_id, timeout_s=20))
    steps = [event.step for event in events if event.kind == "step"]
    assert steps == [1, 2, 3]
    assert events[-1].kind == "succeeded"
    third = events[2]
    assert list(client.events(job_id, after=third.id)) == events[3:]


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"steps": 0}, "steps", "at least 1"),
        ({"width": 100}, "width", "multiple of 8"),
        ({"n": 99}, "n", "at most 16"),
        ({"guidance_scale": float("nan")}, "guidance_scale", "finite"),
        ({"prompt": "x" * 5000}, "prompt", "at most 2000"),
        ({"stpes": 3}, "stpes", "not a field"),
        ({"steps": "3"}, "steps", "got '3'"),
        ({"n": 16, "steps": 150, "width": 2048, "height": 2048}, "cost", "at most"),
        ({"model": "\ud800"}, "model", "must be one of"),
        ({"tenant": "\ud800"}, "tenant", "Unicode text"),
        ({"id": "\ud800"}, "id", "Unicode text"),
        ({"idempotency_key": "\ud800"}, "idempotency_key", "printable"),
        ({"metadata": {"\ud800": "x"}}, r"metadata.\ud800", "Unicode text"),
        ({"metadata": {"x": "\ud800"}}, "metadata.x", "Unicode text"),
    ],
)
def test_a_wrong_field_is_refused_and_nothing_is_stored(
    client: Client, idle_worker: FakeWorker, redis_client: redis.Redis, fields: Any, field: str, message: str
) -> None:
    before = set(redis_client.keys())
    with pytest.raises(InvalidJob, match=message) as caught:
        client.submit(**{"prompt": "a fox", **fields})
    assert caught.value.field == field
    assert set(redis_client.keys()) == before


def test_an_unknown_model_is_refused(client: Client, idle_worker: FakeWorker) -> None:
    with pytest.raises(UnknownModel, match=MODEL):
        client.submit(prompt="a fox", model="dall-e-9")


def test_many_jobs_are_stored_in_one_call(client: Client, worker: FakeWorker) -> None:
    jobs: list[JobFields] = [{"prompt": f"fox {index}", "steps": 1, "seed": index} for index in range(40)]
    ids = client.submit_many(jobs)
    views = client.wait_many(ids, timeout_s=30)
    assert [view.job.seed for view in views] == list(range(40))
    assert {view.state for view in views} == {JobState.SUCCEEDED}


def test_one_wrong_job_of_many_stores_none(client: Client, idle_worker: FakeWorker) -> None:
    with pytest.raises(InvalidJob, match="job 1: steps must be at least 1") as caught:
        client.submit_many([{"prompt": "ok"}, {"prompt": "x", "steps": 0}, {"prompt": "x", "n": 0}])
    assert [error.field for error in caught.value.errors] == ["jobs.1.steps", "jobs.2.n"]
    assert client.backend.ledger.list_jobs(state=None, pool=POOL, limit=10) == []


def test_the_same_key_is_the_same_job(client: Client, idle_worker: FakeWorker) -> None:
    first = client.submit(prompt="a fox", idempotency_key="order-1")
    assert client.submit(prompt="a fox", idempotency_key="order-1") == first
    assert client.submit(prompt="a fox", idempotency_key="order-1", tenant="blue") != first
    with pytest.raises(IdempotencyConflict):
        client.submit(prompt="a hen", idempotency_key="order-1")


def test_the_same_id_is_the_same_job(client: Client, idle_worker: FakeWorker) -> None:
    assert client.submit(prompt="a fox", id="mine-1") == client.submit(prompt="a fox", id="mine-1") == "mine-1"
    with pytest.raises(IdempotencyConflict):
        client.submit(prompt="a hen", id="mine-1")


def test_a_full_queue_says_when_to_try_again(settings: Settings) -> None:
    with Client(settings.model_copy(update={"max_queue": 2})) as client:
        FakeWorker(client.backend.ledger, client.backend.store)
        client.submit_many([{"prompt": "a"}, {"prompt": "b"}])
        with pytest.raises(Overloaded) as caught:
            client.submit(prompt="c")
    assert caught.value.retry_after_s > 0


def test_a_failure_is_raised_by_wait_and_shown_by_wait_many(client: Client, worker: FakeWorker) -> None:
    job_id = client.submit(prompt="please fail", steps=1)
    with pytest.raises(JobFailed, match="caught fire"):
        client.wait(job_id, timeout_s=20)
    with pytest.raises(JobFailed):
        client.download(job_id)
    (view,) = client.wait_many([job_id])
    assert view.error is not None


def test_a_cancelled_job_ends_its_waiters(client: Client, idle_worker: FakeWorker) -> None:
    job_id = client.submit(prompt="hold")
    canceller = threading.Timer(0.1, client.cancel, [job_id])
    canceller.start()
    with pytest.raises(JobCancelled):
        client.wait(job_id, timeout_s=20)
    canceller.join()
    assert client.cancel(job_id).state is JobState.CANCELLED


def test_a_wait_ends_in_time(client: Client, idle_worker: FakeWorker) -> None:
    job_id = client.submit(prompt="hold")
    with pytest.raises(WaitTimeout, match="still queued"):
        client.wait(job_id, timeout_s=0.05)
    with pytest.raises(WaitTimeout, match="still queued"):
        client.wait_many([job_id], timeout_s=0.05)
    with pytest.raises(WaitTimeout):
        client.download(job_id)


def test_an_id_that_is_not_there_is_not_found(client: Client) -> None:
    for call in (client.get, client.wait, client.cancel, client.download, lambda job_id: list(client.events(job_id))):
        with pytest.raises(JobNotFound, match="nope"):
            call("nope")
        with pytest.raises(JobNotFound, match="udcff"):
            call("\udcff")  # as an argument of a command that was no UTF-8
    with pytest.raises(JobNotFound):
        client.wait_many(["nope"])


def test_a_changed_object_is_not_saved(client: Client, worker: FakeWorker, tmp_path: Path) -> None:
    job_id = client.submit(prompt="a fox", steps=1)
    (image,) = client.wait(job_id, timeout_s=20).images
    client.backend.store.delete(image.key)
    client.backend.store.put_image(image.key, b"another", "image/png")
    with pytest.raises(CorruptObject, match=image.key):
        client.download(job_id, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_redis_is_a_sentence() -> None:
    with pytest.raises(LedgerUnavailable, match="SYNERDIFF_REDIS_URL"):
        Client(Settings(redis_url="redis://127.0.0.1:9/0"))


def test_a_redis_that_goes_away_is_a_sentence_and_comes_back(own_redis: EmbeddedRedis) -> None:
    with Client(Settings(redis_url=own_redis.url)) as client:
        own_redis.kill()
        with pytest.raises(LedgerUnavailable):
            client.get("x")
        own_redis.start()
        with pytest.raises(JobNotFound):
            client.get("x")


def test_the_async_client_does_the_same(settings: Settings, worker: FakeWorker, tmp_path: Path) -> None:
    async def run() -> None:
        async with AsyncClient(settings) as client:
            ids = await client.submit_many([{"prompt": "a fox", "steps": STEPS}] * 3)
            assert len(await client.wait_many(ids, timeout_s=20)) == 3
            job_id = await client.submit(prompt="a hen", steps=STEPS, idempotency_key="k")
            kinds = [event.kind async for event in client.events(job_id, timeout_s=20)]
            assert kinds[-1] == "succeeded"
            assert kinds.count("step") == STEPS
            view = await client.wait(job_id, timeout_s=20, urls=True)
            assert view.images[0].url is not None
            assert (await client.get(job_id)).images[0].url is None
            assert len(await client.download(job_id, tmp_path)) == 1
            held = await client.submit(prompt="hold")
            with pytest.raises(WaitTimeout):
                await client.wait(held, timeout_s=0.05)
            assert (await client.cancel(held)).state is JobState.CANCELLED
            with pytest.raises(JobCancelled):
                await client.wait(held)
            assert [entry.name for entry in await client.models()] == [MODEL]

    asyncio.run(run())


def test_hundreds_of_async_waiters_hold_no_threads(settings: Settings, worker: FakeWorker) -> None:
    async def run() -> None:
        async with AsyncClient(settings) as client:
            ids = await client.submit_many([{"prompt": "a fox", "steps": 1}] * 100)
            views = await asyncio.gather(*(client.wait(job_id, timeout_s=60) for job_id in ids))
            assert {view.state for view in views} == {JobState.SUCCEEDED}

    asyncio.run(run())
