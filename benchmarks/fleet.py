"""What the fleet costs: its throughput beside the bare engine's, the engine's own overhead, submits, start latency.

Run ``python -m benchmarks.fleet [--json OUT] [--rounds 3] [--jobs 32] [--threads 1]``. The same jobs go through
the engine alone (in this process) and through a whole fleet (Redis, S3, scheduler, one worker; gateway and Flower
idle beside them), in interleaved rounds, so that what else the machine does hits both. Everything shares the
machine's cores: with ``--threads 1`` the engine leaves the others to the rest of the fleet.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is imported

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from synerdiff.cli.embedded import EmbeddedRedis
from synerdiff.cli.figures import percentile
from synerdiff.cli.stack import Stack
from synerdiff.client import Client, JobFields
from synerdiff.engine.config import EngineConfig
from synerdiff.engine.engine import Engine
from synerdiff.engine.model import LoadedModel, load_model
from synerdiff.engine.types import ImageReady, Request, SlotReport
from synerdiff.ledger import Ledger
from synerdiff.protocol import ModelEntry
from synerdiff.settings import load
from synerdiff.settings.settings import SHIPPED_MODEL

SUBMITS = 1000
STARTS = 40
CAPACITY = 16
PROMPTS = ("a penguin in the snow", "a red apple on a blue background", "a castle at sunset", "a happy face")


@dataclass(frozen=True, slots=True)
class EngineRound:
    """One round of the engine alone; seconds of wall time."""

    images_per_s: float
    stepping_s: float
    calls_s: float
    rows_per_call: float

    @property
    def overhead(self) -> float:
        """The share of stepping outside UNet and VAE calls."""
        return 1.0 - self.calls_s / self.stepping_s


def workload(count: int) -> list[JobFields]:
    """Jobs that keep a batch full: steps differ, so that they join and leave; ``exact`` fixes the work done."""
    return [
        {
            "prompt": PROMPTS[number % len(PROMPTS)],
            "steps": 15 + 5 * (number % 3),
            "sampler": "ddim",
            "quality": "exact",
            "seed": number,
        }
        for number in range(count)
    ]


def engine_round(model: LoadedModel, jobs: list[JobFields]) -> EngineRound:
    """Run the jobs in a new engine, alone."""
    engine = Engine(model, EngineConfig(capacity=CAPACITY))
    side = {"width": 128, "height": 128, "negative_prompt": "", "guidance_scale": 5.0, "n": 1}
    for number, job in enumerate(jobs):
        engine.admit(Request(job_id=str(number), **{**side, **job}))  # type: ignore[arg-type]
    images, reports, stepping_s = 0, list[SlotReport](), 0.0
    while not engine.idle:
        started = time.perf_counter()
        events = engine.step()
        stepping_s += time.perf_counter() - started
        images += sum(isinstance(event, ImageReady) for event in events)
        reports += [event for event in events if isinstance(event, SlotReport)]
    calls = [report.rows for report in reports if report.rows]
    return EngineRound(
        images_per_s=images / stepping_s,
        stepping_s=stepping_s,
        calls_s=sum(report.unet_s + report.vae_s for report in reports),
        rows_per_call=statistics.mean(calls),
    )


def fleet_round(client: Client, jobs: list[JobFields]) -> float:
    """Images per second of the fleet, from the first submit to the last image stored, by Redis's clock."""
    views = client.wait_many(client.submit_many(jobs), timeout_s=3600)
    if any(view.state != "succeeded" for view in views):
        raise SystemExit("a job of the benchmark did not succeed")
    begun = min(view.created_at for view in views)
    return len(views) / (max(view.finished_at or 0.0 for view in views) - begun)


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


@contextmanager
def fleet(directory: Path, threads: int) -> Iterator[Client]:
    """A client of a whole fleet whose worker has ``threads`` torch threads."""
    os.environ |= {"SYNERDIFF_THREADS": str(threads), "SYNERDIFF_CAPACITY": str(CAPACITY)}
    with Stack(directory, model=SHIPPED_MODEL) as stack:
        stack.start()
        with Client(stack.settings) as client:
            yield client


def machine() -> dict[str, Any]:
    """What the figures were measured on, and how busy it was."""
    info = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cpus": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load_average_at_start": round(os.getloadavg()[0], 2),
    }


def measure(rounds: int, jobs: int, threads: int, console: Console) -> dict[str, Any]:
    """All figures as one document."""
    document: dict[str, Any] = {"machine": machine(), "model": SHIPPED_MODEL, "threads": threads, "jobs": jobs}
    model, work = load_model(None, threads=threads), workload(jobs)
    alone: list[EngineRound] = []
    whole: list[float] = []
    with tempfile.TemporaryDirectory() as scratch, Progress(console=console) as progress:
        bar = progress.add_task("submits", total=2 + 2 * (rounds + 1))
        submitted = submits(Path(scratch) / "submits", SUBMITS)
        progress.update(bar, advance=1, description="starting the fleet")
        with fleet(Path(scratch) / "fleet", threads) as client:
            for number in range(rounds + 1):  # the first warms both and is dropped
                progress.update(bar, description=f"round {number} of {rounds}: engine alone")
                alone.append(engine_round(model, work))
                progress.update(bar, advance=1, description=f"round {number} of {rounds}: fleet")
                whole.append(fleet_round(client, work))
                progress.advance(bar)
            progress.update(bar, description="start latency")
            waited = starts(client, STARTS)
            progress.advance(bar)
    return (
        document
        | figures(alone[1:], whole[1:])
        | {
            "submits_per_s": submitted,
            "submit_to_start_s": {"p50": percentile(waited, 0.5), "p99": percentile(waited, 0.99)},
        }
    )


def figures(alone: list[EngineRound], whole: list[float]) -> dict[str, Any]:
    """The rounds, and the overheads as medians over them."""
    lost = [1.0 - fleet_rate / engine.images_per_s for engine, fleet_rate in zip(alone, whole, strict=True)]
    return {
        "rounds": [
            {"engine_images_per_s": engine.images_per_s, "fleet_images_per_s": rate, "lost": share}
            for engine, rate, share in zip(alone, whole, lost, strict=True)
        ],
        "fleet_overhead": statistics.median(lost),
        "engine_overhead": statistics.median(engine.overhead for engine in alone),
        "rows_per_call": statistics.mean(engine.rows_per_call for engine in alone),
    }


def report(document: dict[str, Any]) -> Table:
    """The figures for a person."""
    table = Table("figure", "value", "aim", title="What the fleet costs")
    rates = document["rounds"]
    table.add_row(
        "engine alone, images/s", f"{statistics.median(each['engine_images_per_s'] for each in rates):.2f}", ""
    )
    table.add_row("fleet, images/s", f"{statistics.median(each['fleet_images_per_s'] for each in rates):.2f}", "")
    table.add_row("fleet overhead", f"{document['fleet_overhead']:.1%}", "< 5%")
    table.add_row("engine overhead", f"{document['engine_overhead']:.1%}", "< 3%")
    for kind, rate in document["submits_per_s"].items():
        table.add_row(f"submits/s, {kind.replace('_', ' ')}", f"{rate:.0f}", "")
    for share, value in document["submit_to_start_s"].items():
        table.add_row(f"submit to start, {share}", f"{value * 1000:.1f} ms", "")
    return table


def main() -> None:
    """Measure, print the table, and write the JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures here")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1, help="torch threads of the engine, alone and in the fleet")
    options = parser.parse_args()
    console = Console()
    document = measure(options.rounds, options.jobs, options.threads, console)
    console.print(report(document))
    if options.json:
        options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
