"""The HTTP contract, over a real socket, Redis and S3."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import redis

from synerdiff.api.body import MAX_BODY_BYTES
from synerdiff.protocol import JobState
from tests.fake_worker import MODEL, POOL, FakeWorker
from tests.gateway_server import Served, error_of, events_of
from tests.support import wait_until

STEPS = 3


def test_a_job_is_taken_followed_and_fetched(http: httpx.Client, worker: FakeWorker) -> None:
    reply = http.post("/v1/jobs", json={"prompt": "a fox", "steps": STEPS, "seed": 7})
    assert reply.status_code == 202
    job = reply.json()
    assert reply.headers["Location"] == job["url"] == f"/v1/jobs/{job['id']}"
    assert (job["state"], job["created"]) == ("queued", True)

    events = events_of(http, job["events_url"])
    assert [event["step"] for event in events if event["kind"] == "step"] == [1, 2, 3]
    assert events[-1]["event"] == "succeeded"
    assert events_of(http, job["events_url"], events[2]["id"]) == events[3:]

    view = http.get(job["url"]).json()
    assert view["state"] == "succeeded"
    (image,) = view["images"]
    assert image["seed"] == 7
    data = httpx.get(image["url"]).content
    assert hashlib.sha256(data).hexdigest() == image["sha256"]


def test_a_queued_job_knows_its_position_and_when_it_may_be_done(
    http: httpx.Client, here: Served, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synerdiff.api.following.QUEUE_NEWS_S", 0.02)
    monkeypatch.setattr("synerdiff.api.outlook.FRESH_S", 0.0)
    jobs = [http.post("/v1/jobs", json={"prompt": "hold", "steps": 10}).json() for _ in range(3)]
    views = [http.get(job["url"]).json() for job in jobs]
    assert [(view["position"], view["eta_s"]) for view in views] == [(0, None), (1, None), (2, None)]

    pace = {"step_s": [1.0, 1.5], "decode_s": 3.0, "pixels": 128 * 128}
    redis_client.hset(f"synerdiff:plan:{POOL}:p1", "pace", json.dumps(pace))
    worker = FakeWorker(here.gateway.backend.ledger, here.gateway.backend.store)
    worker.register()
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(events_of, http, jobs[2]["events_url"])
        wait_until(lambda: here.gateway.hub.followers == 1, what="the stream is open")
        http.delete(jobs[0]["url"])
        http.delete(jobs[1]["url"])
        assert http.get(jobs[2]["url"]).json()["eta_s"] == pytest.approx(10 * 1.0 + 3.0, abs=0.1)
        http.delete(jobs[2]["url"])
        events = following.result(timeout=20)
    assert [event["kind"] for event in events if event["kind"] != "queued"] == ["cancelled"]
    assert any(event["id"] for event in events)  # the first may be news: on a slow machine the stream is read later
    assert events[0]["data"]["position"] == "0"  # a worker has room for all three
    assert float(events[0]["data"]["eta_s"]) >= 13.0
    final = http.get(jobs[2]["url"]).json()
    assert (final["position"], final["eta_s"]) == (None, None)


def test_idempotency_keys(http: httpx.Client) -> None:
    def post(prompt: str) -> httpx.Response:
        return http.post("/v1/jobs", json={"prompt": prompt}, headers={"Idempotency-Key": "order-1"})

    first = post("a fox").json()
    again = post("a fox")
    assert again.status_code == 202
    assert again.json() == {**first, "created": False}
    error_of(post("a hen"), 409, "idempotency_conflict")


def test_a_job_is_cancelled(http: httpx.Client) -> None:
    url = http.post("/v1/jobs", json={"prompt": "hold"}).json()["url"]
    assert http.delete(url).json()["state"] == "cancelled"
    assert http.delete(url).status_code == 200
    assert events_of(http, f"{url}/events")[-1]["kind"] == "cancelled"


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, ["prompt"]),
        ({"prompt": "x", "steps": 0, "n": "2"}, ["steps", "n"]),
        ({"prompt": "x", "width": 100, "sampler": "magic"}, ["sampler"]),
        ({"prompt": "x", "width": 100, "height": 9999}, ["width", "height"]),
        ({"prompt": "x", "steps": 9999, "n": 99}, ["steps", "n", "cost"]),
        ({"prompt": "x", "colour": "red"}, ["colour"]),
        ({"prompt": None}, ["prompt"]),
    ],
)
def test_wrong_fields_are_listed_and_nothing_is_stored(
    http: httpx.Client, here: Served, fields: dict[str, Any], names: list[str]
) -> None:
    error = error_of(http.post("/v1/jobs", json=fields), 422, "invalid_job")
    assert [item["field"] for item in error["errors"]] == names
    assert here.gateway.backend.ledger.list_jobs(state=None, pool=POOL, limit=10) == []


def test_an_unknown_model_is_answered_with_the_known_ones(http: httpx.Client) -> None:
    error = error_of(http.post("/v1/jobs", json={"prompt": "x", "model": "dall-e-9"}), 422, "unknown_model")
    assert MODEL in error["message"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_body"),
        (b"{", 400, "malformed_body"),
        (b"[1]", 400, "malformed_body"),
        (b"\xff\xfe", 400, "malformed_body"),
        (b"[" * 100_000, 400, "malformed_body"),
        (b'{"prompt": "x", "seed": ' + b"9" * 5000 + b"}", 400, "malformed_body"),
        (b'{"prompt": "x", "guidance_scale": NaN}', 422, "invalid_job"),
        (b'{"prompt": "\\ud800"}', 422, "invalid_job"),
        (b'{"prompt": "x", "\\ud800": 1}', 422, "invalid_job"),
        (b'{"prompt": "x", "model": "\\ud800"}', 422, "unknown_model"),
        (b'{"prompt": "x", "tenant": "\\ud800"}', 422, "invalid_job"),
        (b'{"prompt": "x", "id": "\\ud800"}', 422, "invalid_job"),
        (b'{"prompt": "x", "metadata": {"\\ud800": "y"}}', 422, "invalid_job"),
        (b'{"prompt": "x", "metadata": {"y": "\\ud800"}}', 422, "invalid_job"),
        (b'{"prompt": "x", "webhook": "http://\\ud800.example"}', 422, "invalid_job"),
        (b'{"prompt": "' + b"x" * MAX_BODY_BYTES + b'"}', 413, "body_too_large"),
    ],
)
def test_a_body_that_is_no_job(http: httpx.Client, body: bytes, status: int, code: str) -> None:
    error_of(http.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"}), status, code)


def test_a_body_without_an_announced_length_is_bounded_too(http: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(MAX_BODY_BYTES // 1024 + 2):
            yield b" " * 1024

    headers = {"Content-Type": "application/json"}
    error_of(http.post("/v1/jobs", content=chunks(), headers=headers), 413, "body_too_large")


def test_a_slow_body_is_given_up(here: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synerdiff.api.body.BODY_TIMEOUT_S", 0.05)
    host, port = here.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
        )
        assert b" 408 " in connection.recv(4096).partition(b"\r\n")[0]


def test_a_form_of_another_site_cannot_submit(http: httpx.Client) -> None:
    error_of(http.post("/v1/jobs", content=b'{"prompt": "x"}', headers={"Content-Type": "text/plain"}), 415, "not_json")


@pytest.mark.parametrize("path", ["/v1/jobs/nope", "/v1/jobs/nope/events", "/v1/jobs/a%20b", f"/v1/jobs/{'x' * 300}"])
def test_a_job_that_is_not_there(http: httpx.Client, path: str) -> None:
    error_of(http.get(path), 404, "job_not_found")
    if not path.endswith("/events"):
        error_of(http.delete(path), 404, "job_not_found")


def test_paths_methods_and_headers_that_are_wrong(http: httpx.Client) -> None:
    error_of(http.get("/v2/jobs"), 404, "not_found")
    error_of(http.put("/v1/jobs", json={}), 405, "method_not_allowed")
    job = http.post("/v1/jobs", json={"prompt": "hold"}).json()
    error = error_of(http.get(job["events_url"], headers={"Last-Event-ID": "yesterday"}), 422, "invalid_request")
    assert error["field"] == "Last-Event-ID"
    long_key = {"Idempotency-Key": "x" * 256}
    error = error_of(http.post("/v1/jobs", json={"prompt": "x"}, headers=long_key), 422, "invalid_request")
    assert error["field"] == "idempotency-key"


def test_nothing_of_a_refused_job_is_in_the_ledger(http: httpx.Client, here: Served) -> None:
    error_of(http.post("/v1/jobs", json={"prompt": "x", "steps": 0}), 422, "invalid_job")
    assert here.gateway.backend.ledger.list_jobs(state=JobState.QUEUED, pool=None, limit=10) == []
