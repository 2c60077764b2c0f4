"""Webhooks, from the script that ends a job to a real server that checks the signature."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from synerdiff.api.webhooks import service
from synerdiff.cli.embedded import S3Access
from synerdiff.ledger import Ledger
from synerdiff.protocol import Job, JobState, JobView, ModelEntry
from synerdiff.settings import Settings
from tests.fake_worker import MODEL, POOL, FakeWorker
from tests.gateway_server import Served, served
from tests.support import wait_until

SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


class Receiver(ThreadingHTTPServer):
    """A producer's server: answers with the statuses it is given, then 200, and keeps what it got."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[int] = []
        self.got: list[tuple[dict[str, str], str]] = []
        self.paths: list[str] = []
        self.body = b"ok"
        self.pause_s = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["content-length"])).decode()
        self.server.got.append((dict(self.headers.items()), text))
        self.server.paths.append(self.path)
        time.sleep(self.server.pause_s)
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.send_header("Location", f"{self.server.url}/elsewhere")
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(timeout=10)


@pytest.fixture
def settings(redis_url: str, s3: S3Access, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(service, "POLL_S", 0.02)
    monkeypatch.setattr(service, "FIRST_RETRY_S", 0.05)
    monkeypatch.setattr(service, "RETRY_FACTOR", 1.0)
    return Settings.model_validate(
        {
            "redis_url": redis_url,
            "s3_endpoint": s3.endpoint,
            "s3_bucket": s3.bucket,
            "s3_access_key": s3.access_key,
            "s3_secret_key": s3.secret_key,
            "webhook_secrets": f"*:{SECRET}",
            "webhook_networks": "127.0.0.0/8",
            "webhook_timeout_s": 5.0,
            "webhook_attempts": 3,
        }
    )


@pytest.fixture
def here(settings: Settings) -> Iterator[Served]:
    with served(settings) as found:
        found.gateway.backend.ledger.put_model(ModelEntry(name=MODEL, pool=POOL))
        yield found


@pytest.fixture
def worker(here: Served) -> Iterator[FakeWorker]:
    with FakeWorker(here.gateway.backend.ledger, here.gateway.backend.store).running() as worker:
        yield worker


def _submit(here: Served, url: str, prompt: str = "a fox", **fields: Any) -> str:
    reply = httpx.post(f"{here.url}/v1/jobs", json={"prompt": prompt, "steps": 1, "webhook": url, **fields})
    assert reply.status_code == 202, reply.text
    job_id: str = reply.json()["id"]
    return job_id


def _settled(ledger: Ledger, job_id: str, attempts: int) -> JobView:
    def look() -> JobView | None:
        view = ledger.get(job_id)
        assert view is not None
        return view if len(view.deliveries) >= attempts and not ledger.webhooks_waiting() else None

    return wait_until(look, what=f"{attempts} attempts")


def test_a_signed_message_tells_of_the_end(here: Served, worker: FakeWorker, receiver: Receiver) -> None:
    job_id = _submit(here, receiver.url, "a secret fox", metadata={"order": "17"})
    view = _settled(here.gateway.backend.ledger, job_id, 1)
    assert [(item.status, item.next_s) for item in view.deliveries] == [(200, None)]
    ((headers, text),) = receiver.got
    message = Webhook(SECRET).verify(text, headers)
    assert message["type"] == "job.succeeded"
    assert (message["data"]["id"], message["data"]["metadata"]) == (job_id, {"order": "17"})
    assert httpx.get(message["data"]["images"][0]["url"]).status_code == 200
    assert "secret" not in text
    shown = httpx.get(f"{here.url}/v1/jobs/{job_id}").json()["deliveries"]
    assert [item["status"] for item in shown] == [200]


def test_failed_attempts_are_tried_again_under_one_id_and_recorded(
    here: Served, worker: FakeWorker, receiver: Receiver
) -> None:
    receiver.answers = [500, 302]
    job_id = _submit(here, receiver.url)
    view = _settled(here.gateway.backend.ledger, job_id, 3)
    assert [item.status for item in view.deliveries] == [500, 302, 200]
    assert view.deliveries[1].reason == "redirects are not followed"
    assert receiver.paths == ["/hook"] * 3
    ids = {headers.get("webhook-id") for headers, _ in receiver.got}
    assert len(ids) == 1
    for headers, text in receiver.got:
        Webhook(SECRET).verify(text, headers)


def test_attempts_end(here: Served, worker: FakeWorker, receiver: Receiver) -> None:
    receiver.answers = [500] * 9
    view = _settled(here.gateway.backend.ledger, _submit(here, receiver.url), 3)
    assert [item.next_s is None for item in view.deliveries] == [False, False, True]
    assert len(receiver.got) == 3
    receiver.answers = [410]
    view = _settled(here.gateway.backend.ledger, _submit(here, receiver.url), 1)
    assert [item.status for item in view.deliveries] == [410]


@pytest.mark.parametrize(("prompt", "kind"), [("please fail", "job.failed"), ("hold", "job.cancelled")])
def test_every_end_is_told(here: Served, worker: FakeWorker, receiver: Receiver, prompt: str, kind: str) -> None:
    job_id = _submit(here, receiver.url, prompt)
    if prompt == "hold":
        here.gateway.backend.cancel(job_id)
    _settled(here.gateway.backend.ledger, job_id, 1)
    assert json.loads(receiver.got[0][1])["type"] == kind


def test_an_endless_answer_and_a_slow_one_are_cut_off(settings: Settings, receiver: Receiver) -> None:
    receiver.body = b"x" * 3_000_000
    quick = settings.model_copy(update={"webhook_timeout_s": 2.0, "webhook_attempts": 1})
    with served(quick) as here:
        ledger = here.gateway.backend.ledger
        ledger.put_model(ModelEntry(name=MODEL, pool=POOL))
        with FakeWorker(ledger, here.gateway.backend.store).running():
            assert _settled(ledger, _submit(here, receiver.url), 1).deliveries[0].status == 200
            receiver.pause_s = 4.0
            slow = _settled(ledger, _submit(here, receiver.url), 1).deliveries[0]
            assert (slow.status, slow.reason) == (None, "no answer within 2 s")


def test_a_dead_gateway_loses_nothing(settings: Settings, receiver: Receiver, redis_url: str) -> None:
    ledger = Ledger.connect(redis_url)
    job = Job(model=MODEL, prompt='say "webhook":"x"', width=64, height=64, steps=1, webhook=receiver.url)
    ledger.submit_many([job, Job(model=MODEL, prompt='say "webhook":"x"', width=64, height=64)], POOL)
    for view in ledger.list_jobs(state=JobState.QUEUED, pool=POOL):
        ledger.cancel(view.id)
    assert ledger.webhooks_waiting() == 1
    assert ledger.due_webhooks(10, 0.0) == (job.id,)  # taken by a gateway that died before it told anything
    with served(settings):
        assert _settled(ledger, job.id, 1).deliveries[0].status == 200
    ledger.close()


def test_what_must_not_be_called_is_refused_when_it_is_submitted_and_when_it_is_resolved(
    settings: Settings, receiver: Receiver
) -> None:
    strict = settings.model_copy(update={"webhook_networks": ""})
    with served(strict) as here:
        ledger = here.gateway.backend.ledger
        ledger.put_model(ModelEntry(name=MODEL, pool=POOL))
        reply = httpx.post(f"{here.url}/v1/jobs", json={"prompt": "x", "webhook": receiver.url})
        assert reply.status_code == 422
        assert reply.json()["error"]["field"] == "webhook"
        assert "127.0.0.1 is not a public address" in reply.json()["error"]["message"]
        assert ledger.list_jobs(pool=POOL) == []

        job_id = _submit(here, receiver.url.replace("127.0.0.1", "localhost"), "hold")
        here.gateway.backend.cancel(job_id)
        (attempt,) = _settled(ledger, job_id, 1).deliveries
        assert (attempt.status, attempt.next_s) == (None, None)
        assert "not a public address" in attempt.reason
        assert receiver.got == []


@pytest.mark.parametrize("url", [f"https://{'a' * 64}.example/", "https://a..example.com/", "https://b.example:99999/"])
def test_a_url_that_cannot_be_called_is_refused_and_ends_nothing(here: Served, receiver: Receiver, url: str) -> None:
    ledger = here.gateway.backend.ledger
    reply = httpx.post(f"{here.url}/v1/jobs", json={"prompt": "x", "webhook": url})
    assert (reply.status_code, reply.json()["error"]["field"]) == (422, "webhook")
    assert ledger.list_jobs(pool=POOL) == []

    # One that is stored all the same, by a producer beside the gateway, gets its one attempt; the next are delivered.
    job = Job(model=MODEL, prompt="hold", width=64, height=64, webhook=url)
    ledger.submit(job, POOL)
    ledger.cancel(job.id)
    (attempt,) = _settled(ledger, job.id, 1).deliveries
    assert (attempt.status, attempt.next_s) == (None, None)
    assert attempt.reason.startswith("not called")
    other = _submit(here, receiver.url, "hold")
    here.gateway.backend.cancel(other)
    assert [item.status for item in _settled(ledger, other, 1).deliveries] == [200]


def test_without_a_secret_a_webhook_is_refused(settings: Settings) -> None:
    with served(settings.model_copy(update={"webhook_secrets": _hidden(f"red:{SECRET}")})) as here:
        here.gateway.backend.ledger.put_model(ModelEntry(name=MODEL, pool=POOL))
        reply = httpx.post(f"{here.url}/v1/jobs", json={"prompt": "x", "webhook": "https://example.com/"})
        assert (reply.status_code, reply.json()["error"]["field"]) == (422, "webhook")


def _hidden(text: str) -> Any:
    return Settings.model_validate({"webhook_secrets": text}).webhook_secrets
