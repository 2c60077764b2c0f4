"""The examples do what they say."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from synerdiff.cli.embedded import S3Access
from synerdiff.client import Client
from synerdiff.settings import Settings
from tests.fake_worker import FakeWorker
from tests.gateway_server import served
from tests.support import wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def environment(redis_url: str, s3: S3Access) -> dict[str, str]:
    return {
        "SYNERDIFF_REDIS_URL": redis_url,
        "SYNERDIFF_S3_ENDPOINT": s3.endpoint,
        "SYNERDIFF_S3_BUCKET": s3.bucket,
        "SYNERDIFF_S3_ACCESS_KEY": s3.access_key,
        "SYNERDIFF_S3_SECRET_KEY": s3.secret_key,
    }


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return Settings.model_validate(
        {name.removeprefix("SYNERDIFF_").lower(): value for name, value in environment.items()}
    )


@pytest.fixture
def worker(settings: Settings) -> Iterator[FakeWorker]:
    with Client(settings) as client, FakeWorker(client.backend.ledger, client.backend.store).running() as worker:
        yield worker


def _run(name: str, *arguments: str, environment: dict[str, str]) -> str:
    found = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_plain_python(environment: dict[str, str], worker: FakeWorker, tmp_path: Path) -> None:
    _run("plain_python.py", str(tmp_path), environment=environment)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".png", ".webp", ".webp"]


def test_celery_only(environment: dict[str, str], redis_client: redis.Redis) -> None:
    job_id = _run("celery_only.py", environment=environment).strip()
    messages: list[Any] = redis_client.lrange("synerdiff.submit", 0, -1)
    (message,) = [json.loads(item) for item in messages]
    assert message["headers"]["task"] == "synerdiff.submit"
    assert job_id in message["headers"]["kwargsrepr"]


def test_openai_client(settings: Settings, worker: FakeWorker, tmp_path: Path) -> None:
    with served(settings) as here:
        _run("openai_client.py", str(tmp_path), environment={"SYNERDIFF_GATEWAY_URL": here.url})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["apple-0.png", "apple-1.png"]


def _port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_fastapi_service(environment: dict[str, str], worker: FakeWorker) -> None:
    port = _port()
    url = f"http://127.0.0.1:{port}/avatars"
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "fastapi_service:app", "--port", str(port)]
    with subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.DEVNULL) as service:
        try:
            wait_until(lambda: _answers(url), timeout_s=60, what="the service answers")
            job_id = httpx.post(f"{url}/ann").json()["job"]
            assert httpx.post(f"{url}/ann").json()["job"] == job_id
            wait_until(lambda: httpx.get(f"{url}/{job_id}").json()["state"] == "succeeded", timeout_s=30)
            assert httpx.get(httpx.get(f"{url}/{job_id}").json()["url"]).status_code == 200
            assert httpx.get(f"{url}/nobody").status_code == 404
        finally:
            service.terminate()


def test_django_service(environment: dict[str, str], worker: FakeWorker) -> None:
    port = _port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(EXAMPLES / "django_service.py"), "runserver", "--noreload", str(port)]
    with subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as service:
        try:
            wait_until(lambda: _answers(f"{url}/avatars"), timeout_s=60, what="the service answers")
            job_id = httpx.post(f"{url}/orders/ann").json()["job"]
            assert httpx.post(f"{url}/orders/ann").json()["job"] == job_id
            wait_until(lambda: httpx.get(f"{url}/avatars/{job_id}").json()["state"] == "succeeded", timeout_s=30)
            assert httpx.get(httpx.get(f"{url}/avatars/{job_id}").json()["url"]).status_code == 200
        finally:
            service.terminate()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/nobody").status_code == 404
    except httpx.TransportError:
        return False
