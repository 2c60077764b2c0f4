"""What operators do by hand: pause, resume and drain a pool, delete jobs with their images."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from synerdiff.cli.embedded import S3Access
from synerdiff.cli.main import app
from synerdiff.client import Client, JobNotFound, JobState, WrongState
from synerdiff.settings import load
from tests.fake_worker import MODEL, POOL, FakeWorker
from tests.gateway_server import served
from tests.support import wait_until


@pytest.fixture
def environment(redis_url: str, s3: S3Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNERDIFF_REDIS_URL", redis_url)
    monkeypatch.setenv("SYNERDIFF_S3_ENDPOINT", s3.endpoint)
    monkeypatch.setenv("SYNERDIFF_S3_BUCKET", s3.bucket)
    monkeypatch.setenv("SYNERDIFF_S3_ACCESS_KEY", s3.access_key)
    monkeypatch.setenv("SYNERDIFF_S3_SECRET_KEY", s3.secret_key)


@pytest.fixture
def client(environment: None) -> Iterator[Client]:
    with Client() as client:
        yield client


@pytest.fixture
def worker(client: Client) -> FakeWorker:
    worker = FakeWorker(client.backend.ledger, client.backend.store)
    worker.register()
    return worker


def _run(*words: str, code: int = 0) -> list[dict[str, Any]]:
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == code, result.output
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def test_a_paused_pool_takes_jobs_and_starts_none(client: Client, worker: FakeWorker) -> None:
    (found,) = _run("pools", "pause", POOL)
    assert found["paused"] is True
    job_id = client.submit(prompt="a fox", steps=1)
    worker.work_once()
    assert client.get(job_id).state is JobState.QUEUED
    assert [load["paused"] for load in _run("pools", "list")] == [True]
    (found,) = _run("pools", "resume", POOL)
    assert (found["paused"], found["released"]) == (False, 1)
    worker.work_once()
    assert client.get(job_id).state is JobState.SUCCEEDED


def test_drain_waits_for_what_runs(client: Client, worker: FakeWorker) -> None:
    ledger = client.backend.ledger
    job_id = client.submit(prompt="a fox", steps=1)
    ledger.claim(job_id, worker=worker.name, nonce="n", lease_s=60)
    (found,) = _run("pools", "drain", POOL, "--timeout-s", "0", code=1)
    assert (found["paused"], found["running"]) == (True, 1)
    canceller = threading.Timer(0.3, ledger.cancel, [job_id])
    canceller.start()
    (found,) = _run("pools", "drain", POOL, "--timeout-s", "60")
    assert (found["paused"], found["running"]) == (True, 0)
    canceller.join()


def test_a_pool_that_is_not_there(client: Client, worker: FakeWorker) -> None:
    result = CliRunner().invoke(app, ["pools", "pause", "nope"])
    assert result.exit_code != 0
    assert POOL not in [load.pool for load in map(client.backend.ledger.load, [POOL]) if load.paused]


def test_a_job_is_deleted_with_its_images(client: Client, worker: FakeWorker) -> None:
    job_id, other = client.submit_many([{"prompt": "a fox", "steps": 1, "n": 2}, {"prompt": "a hen", "steps": 1}])
    with pytest.raises(WrongState, match="cancel it before"):
        client.delete(job_id)
    worker.work_once()
    keys = [image.key for image in client.get(job_id).images]
    assert all(client.backend.store.head(key) for key in keys)
    (found,) = _run("jobs", "delete", job_id)
    assert (found["id"], found["state"]) == (job_id, "succeeded")
    assert not any(client.backend.store.head(key) for key in keys)
    with pytest.raises(JobNotFound):
        client.get(job_id)
    assert client.backend.store.head(client.get(other).images[0].key)
    _run("jobs", "delete", job_id, code=1)


def test_a_job_stopped_under_its_worker_is_deleted_once_its_images_are_cleared(
    client: Client, worker: FakeWorker
) -> None:
    ledger = client.backend.ledger
    job_id = client.submit(prompt="a fox", steps=1)
    ledger.claim(job_id, worker=worker.name, nonce="n", lease_s=60)
    client.cancel(job_id)
    with pytest.raises(WrongState, match="in a minute"):
        client.delete(job_id)
    ledger.discarded(POOL, job_id)
    client.delete(job_id)
    with pytest.raises(JobNotFound):
        client.get(job_id)


def test_over_http_only_the_owner_deletes(client: Client, worker: FakeWorker) -> None:
    settings = load({"api_keys": "red:r-key,blue:b-key"})
    red, blue = ({"Authorization": f"Bearer {key}"} for key in ("r-key", "b-key"))
    with served(settings) as here:
        url = here.url + httpx.post(f"{here.url}/v1/jobs", json={"prompt": "x", "steps": 1}, headers=red).json()["url"]
        reply = httpx.delete(f"{url}?purge=true", headers=red)
        assert (reply.status_code, reply.json()["error"]["code"]) == (409, "wrong_state")
        worker.work_once()
        key = httpx.get(url, headers=red).json()["images"][0]["key"]
        assert key == f"images/red/{url.rsplit('/', 1)[-1]}/0.png"
        assert httpx.delete(f"{url}?purge=true", headers=blue).status_code == 404
        assert client.backend.store.head(key)
        assert httpx.delete(f"{url}?purge=true", headers=red).json()["state"] == "succeeded"
        assert httpx.get(url, headers=red).status_code == 404
        assert not client.backend.store.head(key)


def test_a_tenants_rate_and_open_jobs_are_bounded(client: Client) -> None:
    keys = {"api_keys": "red:r-key,blue:b-key"}
    red, blue = ({"Authorization": f"Bearer {key}"} for key in ("r-key", "b-key"))
    FakeWorker(client.backend.ledger, client.backend.store)  # puts the model into the catalogue
    with served(load({**keys, "tenant_rate": 0.01, "tenant_burst": 2})) as here:
        replies = [httpx.post(f"{here.url}/v1/jobs", json={"prompt": "x"}, headers=red) for _ in range(3)]
        assert [reply.status_code for reply in replies] == [202, 202, 429]
        error = replies[2].json()["error"]
        assert (error["code"], error["retryable"]) == ("rate_limited", True)
        assert 1 <= int(replies[2].headers["Retry-After"]) <= 100
        assert httpx.post(f"{here.url}/v1/jobs", json={"prompt": "x"}, headers=blue).status_code == 202
    with served(load({**keys, "max_queue_per_tenant": 2})) as here:
        refused = httpx.post(f"{here.url}/v1/jobs", json={"prompt": "x"}, headers=red)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "overloaded")
        assert "tenant red" in refused.json()["error"]["message"]
        assert httpx.post(f"{here.url}/v1/jobs", json={"prompt": "x"}, headers=blue).status_code == 202


def test_the_bucket_refills(client: Client) -> None:
    ledger = client.backend.ledger
    assert [ledger.take_token("t", 1000.0, 1) for _ in range(1)] == [0.0]
    wait_until(lambda: ledger.take_token("t", 1000.0, 1) == 0.0, what="a token")
    assert ledger.take_token("slow", 0.001, 1) == 0.0
    assert 900 < ledger.take_token("slow", 0.001, 1) <= 1000


def test_records_of_another_version_are_read_and_worked_on(client: Client, worker: FakeWorker) -> None:
    """A newer version added fields to the record, the job, the result and the events; an older one lacks some."""
    ledger = client.backend.ledger
    job_id = client.submit(prompt="a fox", steps=1)
    key = f"synerdiff:job:{job_id}"
    raw: Any = ledger.client.hgetall(key)
    newer = {**json.loads(raw["job"]), "shiny": {"new": True}}
    ledger.client.hset(key, mapping={"v": "2", "job": json.dumps(newer), "glow": "1"})
    ledger.client.hdel(key, "call", "hints")
    worker.work_once()
    view = client.get(job_id)
    assert view.state is JobState.SUCCEEDED
    result: Any = json.loads(str(ledger.client.hget(key, "result")))
    result["receipt"]["shiny"] = result["shiny"] = 1
    ledger.client.hset(key, "result", json.dumps(result))
    ledger.client.xadd(f"synerdiff:events:{job_id}", {"kind": "step", "at": "1", "shiny": "1"})
    ledger.client.xadd(f"synerdiff:events:{job_id}", {"kind": "sparkled", "at": "1"})
    assert client.get(job_id).images == view.images
    assert [event.kind for event in ledger.events(job_id)][-2:] == ["step", "other"]
    assert MODEL in [entry.name for entry in client.models()]
