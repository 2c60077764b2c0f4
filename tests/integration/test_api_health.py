"""The gateway as its operator sees it: probes, metrics, the page, start and stop."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import httpx
import pytest

from synerdiff.cli.embedded import EmbeddedRedis
from synerdiff.protocol.errors import LedgerUnavailable
from synerdiff.settings import Settings
from tests.fake_worker import MODEL, POOL, FakeWorker
from tests.gateway_server import Served, error_of, served
from tests.support import wait_until


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
        error_of(httpx.post(f"{here.url}/v1/jobs", json={"prompt": "x"}, timeout=30), 503, "ledger_unavailable")
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


def test_the_page_is_in_the_package() -> None:
    from importlib.resources import files

    assert Path(str(files("synerdiff.api"))).joinpath("page", "index.html").is_file()
