"""The HTTP contract, over a real socket, Redis and S3."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import openai
import pytest
import redis
from pydantic import SecretStr

from synerdiff.api.body import MAX_BODY_BYTES
from synerdiff.cli.embedded import EmbeddedRedis, S3Access
from synerdiff.protocol import JobState, ModelEntry
from synerdiff.protocol.errors import LedgerUnavailable
from synerdiff.settings import Settings
from tests.fake_worker import MODEL, POOL, FakeWorker
from tests.gateway_server import Served, served
from tests.support import wait_until

STEPS = 3
SHAPE = {"code", "message", "field", "retryable", "docs", "errors"}


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


def _error(reply: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (reply.status_code, reply.headers["content-type"]) == (status, "application/json"), reply.text
    assert set(reply.json()) == {"error"}
    error: dict[str, Any] = reply.json()["error"]
    assert set(error) == SHAPE
    assert error["code"] == code
    assert error["docs"].endswith(f"#{code}")
    return error


def _events(http: httpx.Client, url: str, last: str | None = None) -> list[dict[str, Any]]:
    headers = {"Last-Event-ID": last} if last else {}
    found = []
    with http.stream("GET", url, headers=headers) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        for line in reply.iter_lines():
            name, _, value = line.partition(": ")
            if line and name:
                fields[name] = value
            elif fields:
                found.append({**json.loads(fields["data"]), "id": fields.get("id", ""), "event": fields["event"]})
                fields = {}
    return found


def test_a_job_is_taken_followed_and_fetched(http: httpx.Client, worker: FakeWorker) -> None:
    reply = http.post("/v1/jobs", json={"prompt": "a fox", "steps": STEPS, "seed": 7})
    assert reply.status_code == 202
    job = reply.json()
    assert reply.headers["Location"] == job["url"] == f"/v1/jobs/{job['id']}"
    assert (job["state"], job["created"]) == ("queued", True)

    events = _events(http, job["events_url"])
    assert [event["step"] for event in events if event["kind"] == "step"] == [1, 2, 3]
    assert events[-1]["event"] == "succeeded"
    assert _events(http, job["events_url"], events[2]["id"]) == events[3:]

    view = http.get(job["url"]).json()
    assert view["state"] == "succeeded"
    (image,) = view["images"]
    assert image["seed"] == 7
    data = httpx.get(image["url"]).content
    assert hashlib.sha256(data).hexdigest() == image["sha256"]


def test_a_stream_that_is_opened_early_is_live(http: httpx.Client, here: Served) -> None:
    job = http.post("/v1/jobs", json={"prompt": "a fox", "steps": STEPS}).json()
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(_events, http, job["events_url"])
        wait_until(lambda: here.gateway.hub.followers == 1, what="the stream is open")
        with FakeWorker(here.gateway.backend.ledger, here.gateway.backend.store).running():
            events = following.result(timeout=20)
    assert events[-1]["kind"] == "succeeded"
    wait_until(lambda: here.gateway.hub.followers == 0, what="the stream is closed")


@pytest.mark.parametrize("last", ["99999999999999999999", "1-18446744073709551616", "x"])
def test_an_id_that_no_stream_sent_is_refused_and_other_streams_go_on(
    http: httpx.Client, here: Served, worker: FakeWorker, last: str
) -> None:
    held = http.post("/v1/jobs", json={"prompt": "hold"}).json()
    _error(http.get(held["events_url"], headers={"Last-Event-ID": last}), 422, "invalid_request")
    job = http.post("/v1/jobs", json={"prompt": "a fox", "steps": STEPS}).json()
    assert _events(http, job["events_url"])[-1]["kind"] == "succeeded"


def test_a_damaged_event_hides_nothing_that_comes_after(
    http: httpx.Client, here: Served, redis_client: redis.Redis
) -> None:
    job = http.post("/v1/jobs", json={"prompt": "hold"}).json()
    key = f"synerdiff:events:{job['id']}"
    damaged: list[dict[Any, Any]] = [{"at": "1"}, {"kind": "step", "step": "many"}, {"kind": "step", "data": "{"}]
    for fields in damaged:
        redis_client.xadd(key, fields)
    here.gateway.backend.cancel(job["id"])
    kinds = [event["kind"] for event in _events(http, job["events_url"])]
    assert kinds == ["queued", *["other"] * 3, "cancelled"]


def test_a_client_that_goes_away_is_forgotten(http: httpx.Client, here: Served) -> None:
    job = http.post("/v1/jobs", json={"prompt": "hold"}).json()
    with http.stream("GET", job["events_url"]):
        wait_until(lambda: here.gateway.hub.followers == 1, what="the stream is open")
    wait_until(lambda: here.gateway.hub.followers == 0, what="the stream is closed")


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
        following = pool.submit(_events, http, jobs[2]["events_url"])
        wait_until(lambda: here.gateway.hub.followers == 1, what="the stream is open")
        http.delete(jobs[0]["url"])
        http.delete(jobs[1]["url"])
        assert http.get(jobs[2]["url"]).json()["eta_s"] == 10 * 1.0 + 3.0
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
    _error(post("a hen"), 409, "idempotency_conflict")


def test_a_job_is_cancelled(http: httpx.Client) -> None:
    url = http.post("/v1/jobs", json={"prompt": "hold"}).json()["url"]
    assert http.delete(url).json()["state"] == "cancelled"
    assert http.delete(url).status_code == 200
    assert _events(http, f"{url}/events")[-1]["kind"] == "cancelled"


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
    error = _error(http.post("/v1/jobs", json=fields), 422, "invalid_job")
    assert [item["field"] for item in error["errors"]] == names
    assert here.gateway.backend.ledger.list_jobs(state=None, pool=POOL, limit=10) == []


def test_an_unknown_model_is_answered_with_the_known_ones(http: httpx.Client) -> None:
    error = _error(http.post("/v1/jobs", json={"prompt": "x", "model": "dall-e-9"}), 422, "unknown_model")
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
    _error(http.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"}), status, code)


def test_a_body_without_an_announced_length_is_bounded_too(http: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(MAX_BODY_BYTES // 1024 + 2):
            yield b" " * 1024

    headers = {"Content-Type": "application/json"}
    _error(http.post("/v1/jobs", content=chunks(), headers=headers), 413, "body_too_large")


def test_a_slow_body_is_given_up(here: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synerdiff.api.body.BODY_TIMEOUT_S", 0.05)
    host, port = here.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
        )
        assert b" 408 " in connection.recv(4096).partition(b"\r\n")[0]


def test_a_form_of_another_site_cannot_submit(http: httpx.Client) -> None:
    _error(http.post("/v1/jobs", content=b'{"prompt": "x"}', headers={"Content-Type": "text/plain"}), 415, "not_json")


@pytest.mark.parametrize("path", ["/v1/jobs/nope", "/v1/jobs/nope/events", "/v1/jobs/a%20b", f"/v1/jobs/{'x' * 300}"])
def test_a_job_that_is_not_there(http: httpx.Client, path: str) -> None:
    _error(http.get(path), 404, "job_not_found")
    if not path.endswith("/events"):
        _error(http.delete(path), 404, "job_not_found")


def test_paths_methods_and_headers_that_are_wrong(http: httpx.Client) -> None:
    _error(http.get("/v2/jobs"), 404, "not_found")
    _error(http.put("/v1/jobs", json={}), 405, "method_not_allowed")
    job = http.post("/v1/jobs", json={"prompt": "hold"}).json()
    error = _error(http.get(job["events_url"], headers={"Last-Event-ID": "yesterday"}), 422, "invalid_request")
    assert error["field"] == "Last-Event-ID"
    long_key = {"Idempotency-Key": "x" * 256}
    error = _error(http.post("/v1/jobs", json={"prompt": "x"}, headers=long_key), 422, "invalid_request")
    assert error["field"] == "idempotency-key"


def test_tenants_see_their_own_jobs_alone(settings: Settings) -> None:
    with served(settings.model_copy(update={"api_keys": SecretStr("red:r-key,blue:b-key")})) as here:
        here.gateway.backend.ledger.put_model(ModelEntry(name=MODEL, pool=POOL))
        with httpx.Client(base_url=here.url, timeout=30) as http:
            red, blue = ({"Authorization": f"Bearer {key}"} for key in ("r-key", "b-key"))
            job = http.post("/v1/jobs", json={"prompt": "hold"}, headers=red).json()
            assert http.get(job["url"], headers=red).json()["job"]["tenant"] == "red"
            for method, url in (("GET", job["url"]), ("DELETE", job["url"]), ("GET", job["events_url"])):
                _error(http.request(method, url, headers=blue), 404, "job_not_found")
                _error(http.request(method, url), 401, "unauthorized")
                _error(http.request(method, url, headers={"Authorization": "Bearer wrong"}), 401, "unauthorized")
            assert http.get(job["url"], headers=red).json()["state"] == "queued"
            foreign = http.post("/v1/jobs", json={"prompt": "x", "tenant": "red"}, headers=blue)
            _error(foreign, 403, "forbidden")
            for path in ("/v1/models", "/v1/status"):
                _error(http.get(path), 401, "unauthorized")
                assert http.get(path, headers=blue).status_code == 200
            for path in ("/", "/healthz", "/readyz", "/metrics"):
                assert http.get(path).status_code == 200
            key = {"Idempotency-Key": "k"}
            both = [http.post("/v1/jobs", json={"prompt": "x"}, headers=who | key).json()["id"] for who in (red, blue)]
            assert both[0] != both[1]


def test_an_id_in_use_by_another_tenant_tells_nothing(settings: Settings) -> None:
    with served(settings.model_copy(update={"api_keys": SecretStr("red:r-key,blue:b-key")})) as here:
        here.gateway.backend.ledger.put_model(ModelEntry(name=MODEL, pool=POOL))
        red, blue = ({"Authorization": f"Bearer {key}"} for key in ("r-key", "b-key"))
        body = {"prompt": "a secret fox", "id": "mine-1"}
        assert httpx.post(f"{here.url}/v1/jobs", json=body, headers=red).status_code == 202
        reply = httpx.post(f"{here.url}/v1/jobs", json=body, headers=blue)
        _error(reply, 409, "idempotency_conflict")
        assert "secret" not in reply.text


def test_a_full_queue_is_backpressure(settings: Settings) -> None:
    with served(settings.model_copy(update={"max_queue": 1})) as here:
        here.gateway.backend.ledger.put_model(ModelEntry(name=MODEL, pool=POOL))
        assert httpx.post(f"{here.url}/v1/jobs", json={"prompt": "x"}).status_code == 202
        reply = httpx.post(f"{here.url}/v1/jobs", json={"prompt": "x"})
        assert _error(reply, 429, "overloaded")["retryable"] is True
        assert int(reply.headers["Retry-After"]) >= 1


def test_models_status_and_metrics(http: httpx.Client, worker: FakeWorker) -> None:
    (model,) = http.get("/v1/models").json()["data"]
    assert (model["id"], model["object"], model["default_width"]) == (MODEL, "model", 128)
    job = http.post("/v1/jobs", json={"prompt": "hold"}).json()
    (pool,) = http.get("/v1/status").json()["pools"]
    assert pool["load"]["queued"] == 1
    assert [report["name"] for report in pool["workers"]] == [worker.name]
    text = http.get("/metrics").text
    assert f'synerdiff_pool_queued_jobs{{pool="{POOL}"}} 1.0' in text
    assert 'synerdiff_http_requests_total{method="POST",route="/v1/jobs",status="202"} 1.0' in text
    assert job["id"] not in text
    assert http.get("/healthz").json() == {"status": "ok"}
    ready = {"ready": True, "checks": {"redis": "ok", "s3": "ok"}}
    wait_until(lambda: http.get("/readyz").json() == ready, what="S3 has answered")


def test_the_page_and_the_error_list_need_nothing_from_elsewhere(http: httpx.Client) -> None:
    page = http.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for path in ("/page.css", "/page.js"):
        assert path in page.text
        assert http.get(path).status_code == 200
    assert "://" not in page.text
    assert 'id="job_not_found"' in http.get("/docs/errors").text
    assert http.get("/openapi.json").json()["components"]["schemas"]["JobFields"]["properties"]["steps"]


def test_readiness_reports_a_redis_that_went_away(own_redis: EmbeddedRedis, settings: Settings) -> None:
    with served(settings.model_copy(update={"redis_url": own_redis.url})) as here:
        assert httpx.get(f"{here.url}/readyz").status_code == 200
        own_redis.kill()
        reply = httpx.get(f"{here.url}/readyz", timeout=30)
        assert reply.status_code == 503
        assert "SYNERDIFF_REDIS_URL" in reply.json()["checks"]["redis"]
        assert "synerdiff_ledger_up 0.0" in httpx.get(f"{here.url}/metrics", timeout=30).text
        _error(httpx.post(f"{here.url}/v1/jobs", json={"prompt": "x"}, timeout=30), 503, "ledger_unavailable")
        own_redis.start()
        wait_until(lambda: httpx.get(f"{here.url}/readyz", timeout=30).status_code == 200, what="ready again")


def test_readiness_says_that_s3_is_away_and_still_takes_jobs(settings: Settings) -> None:
    with served(settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"})) as here:

        def said() -> bool:
            reply = httpx.get(f"{here.url}/readyz", timeout=30)
            assert reply.status_code == 200
            return "SYNERDIFF_S3_ENDPOINT" in reply.json()["checks"]["s3"]

        wait_until(said, what="S3 is found to be away")


def test_a_silent_s3_does_not_make_the_gateway_unready(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        away = {"s3_endpoint": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        with served(settings.model_copy(update=away)) as here:
            reply = httpx.get(f"{here.url}/readyz", timeout=30)
            assert (reply.status_code, reply.json()["checks"]["s3"]) == (200, "it has not answered yet")


def test_the_process_answers_though_every_thread_is_taken(here: Served) -> None:
    taken = 60  # more than a server has threads for requests
    go = threading.Event()
    counted: list[int] = []

    def hang(*_: object) -> object:
        counted.append(1)
        go.wait(60)
        raise LedgerUnavailable("Redis is silent")

    with ThreadPoolExecutor(taken) as pool, mock.patch.object(here.gateway.backend.ledger, "server_time", hang):
        waiting = [pool.submit(httpx.get, f"{here.url}/readyz", timeout=90) for _ in range(taken)]
        try:
            wait_until(lambda: len(counted) >= 40, what="every thread hangs")
            assert httpx.get(f"{here.url}/healthz", timeout=30).status_code == 200
        finally:
            go.set()
        assert {reply.result().status_code for reply in waiting} == {503}


@pytest.fixture
def openai_client(here: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{here.url}/v1", api_key="unused", max_retries=0, timeout=60) as client:
        yield client


def test_openai_images_as_base64(openai_client: openai.OpenAI, worker: FakeWorker) -> None:
    reply = openai_client.images.generate(
        prompt="a fox",
        model=MODEL,
        n=2,
        size="64x128",
        response_format="b64_json",
        extra_body={"steps": 2, "seed": 9, "guidance_scale": 3.0},
    )
    assert reply.created > 0
    images = reply.data or []
    assert len(images) == 2
    for image in images:
        assert base64.b64decode(image.b64_json or "").startswith(b"\x89PNG")
        assert image.url is None


def test_openai_images_as_urls(openai_client: openai.OpenAI, worker: FakeWorker) -> None:
    reply = openai_client.images.generate(prompt="a fox", extra_body={"steps": 1, "format": "webp"})
    assert reply.data is not None
    assert reply.data[0].url is not None
    assert httpx.get(reply.data[0].url).headers["content-type"] == "image/webp"
    assert [model.id for model in openai_client.models.list()] == [MODEL]


def test_openai_images_streamed(openai_client: openai.OpenAI, worker: FakeWorker) -> None:
    stream = openai_client.images.generate(
        prompt="a fox, slowly", n=2, size="64x64", stream=True, partial_images=2, extra_body={"steps": 9}
    )
    events = list(stream)
    partial = [event for event in events if event.type == "image_generation.partial_image"]
    completed = [event for event in events if event.type == "image_generation.completed"]
    assert [event.type for event in events] == [event.type for event in partial + completed]
    assert [event.partial_image_index for event in partial] == [0, 0, 1, 1]
    assert {event.output_format for event in partial} == {"webp"}
    assert all(base64.b64decode(event.b64_json).startswith(b"RIFF") for event in partial)
    assert [(event.size, event.output_format) for event in completed] == [("64x64", "png")] * 2
    assert all(base64.b64decode(event.b64_json).startswith(b"\x89PNG") for event in completed)


def test_openai_streams_say_what_went_wrong(openai_client: openai.OpenAI, worker: FakeWorker) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="steps"):
        openai_client.images.generate(prompt="a fox", stream=True, extra_body={"steps": 0})
    stream = openai_client.images.generate(prompt="please fail", stream=True, extra_body={"steps": 1})
    with pytest.raises(openai.APIError, match="caught fire"):
        list(stream)


def test_previews_are_streamed_to_those_who_ask(
    http: httpx.Client, worker: FakeWorker, redis_client: redis.Redis
) -> None:
    job = http.post("/v1/jobs", json={"prompt": "a fox, slowly", "steps": 3}).json()
    events = _events(http, job["events_url"] + "?previews=true")
    pictures = [event for event in events if event["kind"] == "preview"]
    assert pictures
    assert {event["id"] for event in pictures} == {""}
    assert pictures[0]["data"]["0"].startswith("data:image/webp;base64,")
    assert not redis_client.exists(f"synerdiff:preview:{job['id']}")
    assert all(event["kind"] != "preview" for event in _events(http, job["events_url"]))


def test_openai_clients_do_not_send_a_failed_job_again(here: Served, worker: FakeWorker) -> None:
    with (
        openai.OpenAI(base_url=f"{here.url}/v1", api_key="unused", max_retries=2, timeout=60) as client,
        pytest.raises(openai.InternalServerError, match="caught fire"),
    ):
        client.images.generate(prompt="please fail", extra_body={"steps": 1})
    assert len(here.gateway.backend.ledger.list_jobs(pool=POOL)) == 1


def test_images_under_one_key_are_one_job(http: httpx.Client, here: Served, worker: FakeWorker) -> None:
    def post(prompt: str) -> httpx.Response:
        body = {"prompt": prompt, "steps": 1}
        return http.post("/v1/images/generations", json=body, headers={"Idempotency-Key": "order-1"})

    first, again = post("a fox").json(), post("a fox").json()
    assert again["job_id"] == first["job_id"]
    _error(post("a hen"), 409, "idempotency_conflict")
    text = http.get("/metrics").text
    for created in ("true", "false"):
        assert f'synerdiff_jobs_submitted_total{{created="{created}"}} 1.0' in text


def test_a_tenant_has_so_many_streams(settings: Settings) -> None:
    with (
        served(settings.model_copy(update={"tenant_streams": 1})) as here,
        httpx.Client(base_url=here.url, timeout=30) as http,
    ):
        here.gateway.backend.ledger.put_model(ModelEntry(name=MODEL, pool=POOL))
        job = http.post("/v1/jobs", json={"prompt": "hold"}).json()
        with http.stream("GET", job["events_url"]) as first:
            assert first.status_code == 200
            reply = http.get(job["events_url"])
            assert "may have 1 event streams open" in _error(reply, 429, "too_many_streams")["message"]
            assert int(reply.headers["Retry-After"]) >= 1
            reply = http.post("/v1/images/generations", json={"prompt": "hold", "stream": True})
            _error(reply, 429, "too_many_streams")
            assert len(here.gateway.backend.ledger.list_jobs(pool=POOL)) == 1
        http.delete(job["url"])
        wait_until(lambda: http.get(job["events_url"]).status_code == 200, what="the first stream is counted out")


def test_openai_errors(openai_client: openai.OpenAI, worker: FakeWorker) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="stpes") as caught:
        openai_client.images.generate(prompt="a fox", extra_body={"stpes": 1})
    assert caught.value.code == "invalid_job"
    with pytest.raises(openai.UnprocessableEntityError, match="size"):
        openai_client.images.generate(prompt="a fox", size="1x1x1")
    with pytest.raises(openai.InternalServerError, match="caught fire"):
        openai_client.images.generate(prompt="please fail", extra_body={"steps": 1})


def test_three_hundred_streams_share_one_reader(here: Served, http: httpx.Client, redis_client: redis.Redis) -> None:
    streams = 300
    job = http.post("/v1/jobs", json={"prompt": "hold"}).json()
    limits = httpx.Limits(max_connections=None)
    ended: list[str] = []

    def follow(client: httpx.Client) -> None:
        ended.append(_events(client, job["events_url"])[-1]["kind"])

    with httpx.Client(base_url=here.url, timeout=60, limits=limits) as many:
        threads = [threading.Thread(target=follow, args=[many]) for _ in range(streams)]
        for thread in threads:
            thread.start()
        wait_until(lambda: here.gateway.hub.followers == streams, timeout_s=60, what="all streams are open")
        clients: list[Any] = redis_client.client_list()
        assert len(clients) < 60
        http.delete(job["url"])
        for thread in threads:
            thread.join(timeout=60)
    assert ended == ["cancelled"] * streams


def _run_gateway(**settings: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys; from synerdiff.api import run_gateway; from synerdiff.settings import Settings;"
        f"sys.exit(run_gateway(Settings(**{settings!r})))"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)


def test_a_gateway_that_cannot_start_says_why_in_one_sentence(redis_url: str) -> None:
    found = _run_gateway(redis_url="redis://127.0.0.1:9/0")
    assert found.returncode == 1
    assert "SYNERDIFF_REDIS_URL" in found.stderr
    assert len(found.stderr.strip().splitlines()) == 1
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = _run_gateway(redis_url=redis_url, gateway_port=str(taken.getsockname()[1]))
    assert found.returncode == 1
    assert "SYNERDIFF_GATEWAY_PORT" in found.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_gateway_stops_with_its_streams_open(redis_url: str, here: Served, number: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code = (
        "import sys; from synerdiff.api import run_gateway; from synerdiff.settings import Settings;"
        f"sys.exit(run_gateway(Settings(redis_url={redis_url!r}, gateway_port={port})))"
    )
    with (
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as gateway,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as http,
    ):
        wait_until(lambda: _answers(http), timeout_s=60, what="the gateway answers")
        job = http.post("/v1/jobs", json={"prompt": "hold"}).json()
        with contextlib.suppress(httpx.TransportError), http.stream("GET", job["events_url"]):
            gateway.send_signal(number)
            assert gateway.wait(timeout=30) == 0


def _answers(http: httpx.Client) -> bool:
    try:
        return http.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_nothing_of_a_refused_job_is_in_the_ledger(http: httpx.Client, here: Served) -> None:
    with contextlib.suppress(httpx.HTTPError):
        http.post("/v1/jobs", json={"prompt": "x", "steps": 0})
    assert here.gateway.backend.ledger.list_jobs(state=JobState.QUEUED, pool=None, limit=10) == []


def test_the_page_is_in_the_package() -> None:
    from importlib.resources import files

    assert Path(str(files("synerdiff.api"))).joinpath("page", "index.html").is_file()
