"""What the gateway costs under load: CPU seconds a submit, open event streams, memory over time.

python -m benchmarks.gateway [--submits 4000] [--streams 300] [--minutes 1]

The gateway runs in a process of its own against an embedded Redis; the load comes from this process. CPU seconds are
the gateway process's, so they hold on a busy machine too; rates are wall-clock and do not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

from synerdiff.cli.embedded import EmbeddedRedis
from synerdiff.ledger import Claim, Ledger, WorkerReport
from synerdiff.protocol import JobEvent, ModelEntry

MODEL = "tiny-emoji"
AT_ONCE = 16


def cpu_s(process: psutil.Process) -> float:
    """CPU seconds of a process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


async def submit_many(url: str, count: int) -> list[str]:
    """Submit jobs over a few connections; their ids."""
    ids: list[str] = []
    left = iter(range(count))

    async def work(client: httpx.AsyncClient) -> None:
        for number in left:
            reply = await client.post("/v1/jobs", json={"prompt": f"a red apple, number {number}", "steps": 20})
            reply.raise_for_status()
            ids.append(reply.json()["id"])

    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        await asyncio.gather(*(work(client) for _ in range(AT_ONCE)))
    return ids


async def submits(url: str, gateway: psutil.Process, count: int) -> dict[str, Any]:
    """CPU seconds of the gateway for each submit."""
    await submit_many(url, 100)  # connections, imports, caches
    before, began = cpu_s(gateway), time.perf_counter()
    await submit_many(url, count)
    spent_s, wall_s = cpu_s(gateway) - before, time.perf_counter() - began
    return {
        "submits": count,
        "cpu_ms_per_submit": round(spent_s / count * 1e3, 3),
        "submits_per_cpu_s": round(count / spent_s, 1),
        "submits_per_wall_s": round(count / wall_s, 1),
    }


async def streams(
    url: str, gateway: psutil.Process, ledger: Ledger, count: int, minutes: float, rate: float
) -> dict[str, Any]:
    """Streams on as many running jobs; every job steps ``rate`` times a second until the time is up, then ends."""
    ids = await submit_many(url, count)
    tokens = await asyncio.to_thread(_claim_all, ledger, ids)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    received = [0]
    ended: list[str] = []
    async with httpx.AsyncClient(base_url=url, timeout=None, limits=limits) as client:
        followers = [asyncio.create_task(_follow(client, job_id, received, ended)) for job_id in tokens]
        while (await client.get("/v1/status")).json()["streams"] < len(tokens):
            await asyncio.sleep(0.1)
        memory, sent = [gateway.memory_info().rss], 0
        connections = len(gateway.net_connections())
        before, began = cpu_s(gateway), time.perf_counter()
        while time.perf_counter() - began < minutes * 60:
            event = JobEvent(kind="step", step=1 + sent // len(tokens), steps=10_000)
            await asyncio.to_thread(ledger.progress_many, [(job_id, token, event) for job_id, token in tokens.items()])
            sent += len(tokens)
            memory.append(gateway.memory_info().rss)
            await asyncio.sleep(1 / rate)
        spent_s, wall_s = cpu_s(gateway) - before, time.perf_counter() - began
        for job_id in tokens:
            await asyncio.to_thread(ledger.cancel, job_id)
        await asyncio.wait_for(asyncio.gather(*followers), 120)
    tenths = [memory[tenth * (len(memory) - 1) // 10] for tenth in range(11)]
    return {
        "streams": len(tokens),
        "ended": len(ended),
        "connections": connections,
        "seconds": round(wall_s, 1),
        "events_sent": sent,
        "events_received": received[0],
        "cpu_ms_per_event": round(spent_s / max(1, sent) * 1e3, 3),
        "rss_mib_tenths": [round(size / 2**20, 1) for size in tenths],
    }


def _claim_all(ledger: Ledger, ids: list[str]) -> dict[str, int]:
    tokens = {}
    for job_id in ids:
        claim = ledger.claim(job_id, worker="bench", nonce=job_id, lease_s=3600)
        if isinstance(claim, Claim):
            tokens[job_id] = claim.token
    return tokens


async def _follow(client: httpx.AsyncClient, job_id: str, received: list[int], ended: list[str]) -> None:
    async with client.stream("GET", f"/v1/jobs/{job_id}/events") as reply:
        async for line in reply.aiter_lines():
            received[0] += line.startswith("event: step")
            if line == "event: cancelled":
                ended.append(job_id)


def start_gateway(redis_url: str, port: int) -> subprocess.Popen[bytes]:
    """A gateway as its command runs it."""
    environment = {
        **os.environ,
        "SYNERDIFF_REDIS_URL": redis_url,
        "SYNERDIFF_GATEWAY_PORT": str(port),
        "SYNERDIFF_S3_ENDPOINT": "http://127.0.0.1:9",
        "SYNERDIFF_LOG_LEVEL": "WARNING",
    }
    return subprocess.Popen([sys.executable, "-m", "synerdiff.cli", "gateway"], env=environment)


def wait_ready(url: str) -> None:
    """Wait until the gateway answers."""
    deadline = time.monotonic() + 60
    while True:
        try:
            httpx.get(f"{url}/healthz")
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


async def run(options: argparse.Namespace, url: str, process: psutil.Process, ledger: Ledger) -> None:
    """Print one JSON object a line."""
    print(json.dumps(await submits(url, process, options.submits)), flush=True)
    for job in ledger.list_jobs(pool=MODEL, limit=10_000):
        ledger.delete(job.id)
    report = WorkerReport(name="bench", pool=MODEL, capacity=options.streams)
    ledger.heartbeat(report, 3600)
    found = await streams(url, process, ledger, options.streams, options.minutes, options.rate)
    print(json.dumps(found), flush=True)


def main() -> None:
    """Start Redis and a gateway, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--submits", type=int, default=4000)
    parser.add_argument("--streams", type=int, default=300)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--rate", type=float, default=1.0, help="events a second of each stream")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
        reserved.close()
        redis = EmbeddedRedis(Path(folder))
        redis.start()
        ledger = Ledger.connect(redis.url)
        ledger.put_model(ModelEntry(name=MODEL, pool=MODEL))
        gateway = start_gateway(redis.url, port)
        try:
            wait_ready(f"http://127.0.0.1:{port}")
            asyncio.run(run(options, f"http://127.0.0.1:{port}", psutil.Process(gateway.pid), ledger))
        finally:
            gateway.terminate()
            gateway.wait(20)
            ledger.close()
            redis.stop()


if __name__ == "__main__":
    main()
