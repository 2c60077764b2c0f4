"""How fast jobs are stored, and how soon an idle fleet starts one."""

from __future__ import annotations

import time
from pathlib import Path

from synerdiff.cli.embedded import EmbeddedRedis
from synerdiff.client import Client
from synerdiff.ledger import Ledger
from synerdiff.protocol import ModelEntry
from synerdiff.settings import load
from synerdiff.settings.settings import SHIPPED_MODEL


def starts(client: Client, count: int) -> list[float]:
    """Seconds from a submit to the claim of its job, one job at a time in an idle fleet."""
    waited = []
    for _ in range(count):
        view = client.wait(client.submit(prompt="a happy face", steps=1, quality="exact"), timeout_s=120)
        waited.append((view.started_at or 0.0) - view.created_at)
    return waited


def submits(directory: Path, count: int) -> dict[str, float]:
    """Jobs a second that one client stores in a Redis of its own, one by one and in one call."""
    server = EmbeddedRedis(directory).start()
    try:
        ledger = Ledger.connect(server.url)
        ledger.put_model(ModelEntry(name=SHIPPED_MODEL, pool=SHIPPED_MODEL))
        with Client(load({"redis_url": server.url})) as client:
            client.submit(prompt="the first one connects")
            started = time.perf_counter()
            for number in range(count):
                client.submit(prompt="a penguin in the snow", seed=number)
            single = count / (time.perf_counter() - started)
            started = time.perf_counter()
            client.submit_many([{"prompt": "a penguin in the snow"}] * count)
            many = count / (time.perf_counter() - started)
        ledger.close()
    finally:
        server.stop()
    return {"one_by_one": single, "many_in_one_call": many}
