"""Flower as a process, and a client with its password."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from synerdiff.cli.ports import free_ports
from tests.support import wait_until

USER, PASSWORD = "ops", "test-password"


class Flower:
    """A Flower process, and a client with its password."""

    def __init__(self, redis_url: str, log: Path) -> None:
        [port] = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        environment = {
            **os.environ,
            "SYNERDIFF_REDIS_URL": redis_url,
            "SYNERDIFF_FLOWER_PORT": str(port),
            "SYNERDIFF_FLOWER_BASIC_AUTH": f"{USER}:{PASSWORD}",
        }
        with log.open("wb") as output:
            command = [sys.executable, "-m", "synerdiff.cli", "flower"]
            self.process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        self.http = httpx.Client(base_url=self.url, auth=(USER, PASSWORD), timeout=30)

    def start(self) -> None:
        wait_until(self.answers, 90, what="Flower")

    def stop(self) -> None:
        self.http.close()
        self.process.terminate()
        self.process.wait(30)

    def answers(self) -> bool:
        try:
            return self.http.get("/healthcheck").status_code == 200
        except httpx.TransportError:
            return False

    def task(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get("/api/tasks").json()
        return dict(found.get(job_id, {}))

    def until(self, job_id: str, state: str) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            found = self.task(job_id)
            return found if found.get("state") == state else None

        return wait_until(there, 60, what=f"{state} in Flower") or {}
