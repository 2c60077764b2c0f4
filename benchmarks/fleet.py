"""What the fleet costs: its throughput beside the bare engine's, the engine's own overhead, submits, start latency.

Run ``python -m benchmarks.fleet [--json OUT] [--rounds 3] [--jobs 96] [--threads 1]``. The same jobs go through
the engine alone (in this process) and through a whole fleet (Redis, S3, scheduler, one worker; gateway and Flower
beside them), in interleaved rounds, so that what else the machine does hits both. Both engines have the same threads,
capacity, profile and plan (the one that the fleet has at its round's end), so what the plan's batch cap costs or
gains is in both; the rows in a UNet call show whether it was the same in fact. Everything shares the machine's cores:
with ``--threads 1`` the engine leaves the others to the rest of the fleet; with as many threads as cores, whatever the
rest uses is taken from the engine.

Throughput is that at saturation: images a second between the 16th image (the capacity) and the 16th last, in the order
in which they are done. In between every place of the batch is taken, in both. An image is done alone when its pixels
are there, in the fleet when it is stored and its job has succeeded. ``whole run`` counts from the first submit to the
last image, with the batch's filling and emptying: what a burst of that length sees. The account says where the fleet's
CPU seconds and Redis calls went, for each job.
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
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is imported

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.account import ENGINE, Account, Bookkeeper
from benchmarks.scale.meter import Meter
from synerdiff.cli.embedded import EmbeddedRedis
from synerdiff.cli.figures import percentile
from synerdiff.cli.stack import Stack
from synerdiff.client import Client, JobFields
from synerdiff.engine.engine import Engine
from synerdiff.engine.model import LoadedModel, load_model
from synerdiff.engine.profiler import apply_setup, setup_of
from synerdiff.engine.types import ImageReady, Request, SlotReport
from synerdiff.ledger import Ledger
from synerdiff.policy import parse_profile, plan_view
from synerdiff.protocol import ModelEntry, pool_of
from synerdiff.settings import load
from synerdiff.settings.settings import SHIPPED_MODEL
from synerdiff.workers.engines import engine_config
from synerdiff.workers.messages import EngineSpec

SUBMITS = 1000
STARTS = 40
CAPACITY = 16
WARM_UP = 32
PROMPTS = ("a penguin in the snow", "a red apple on a blue background", "a castle at sunset", "a happy face")


@dataclass(frozen=True, slots=True)
class Round:
    """One round, alone or in the fleet; ``done_s`` are the images' times after the start, in order."""

    done_s: list[float]
    rows_per_call: float
    engine_cpu_s: float

    @property
    def saturated(self) -> float:
        """Images a second while the batch is full."""
        first, last = CAPACITY - 1, len(self.done_s) - CAPACITY
        return (last - first) / (self.done_s[last] - self.done_s[first])

    @property
    def whole(self) -> float:
        """Images a second from the start to the last image."""
        return len(self.done_s) / self.done_s[-1]


@dataclass(frozen=True, slots=True)
class EngineRound(Round):
    """One round of the engine alone; seconds of wall time."""

    stepping_s: float
    calls_s: float

    @property
    def overhead(self) -> float:
        """The share of stepping outside UNet and VAE calls."""
        return 1.0 - self.calls_s / self.stepping_s


@dataclass(frozen=True, slots=True)
class FleetRound(Round):
    """One round of the fleet."""

    account: Account


def workload(count: int) -> list[JobFields]:
    """Jobs that keep a batch full: 14 to 26 steps, so that they join and leave one by one; ``exact`` fixes the work."""
    return [
        {
            "prompt": PROMPTS[number % len(PROMPTS)],
            "steps": 14 + 5 * number % 13,
            "sampler": "ddim",
            "quality": "exact",
            "seed": number,
        }
        for number in range(count)
    ]


def fleets_engine(model: LoadedModel, ledger: Ledger, threads: int) -> Engine:
    """An engine as the fleet's worker has it: the same profile, limits and plan, and nothing else of the fleet."""
    pool = pool_of(SHIPPED_MODEL)
    (worker,) = ledger.workers(pool)
    profile = parse_profile(ledger.get_profile(worker.profile_id) or "")
    apply_setup(model, setup_of(profile))
    engine = Engine(model, engine_config(EngineSpec(SHIPPED_MODEL, threads=threads, capacity=CAPACITY), profile))
    engine.predict_by(profile)
    head = ledger.get_plan(pool, worker.profile_id)
    engine.set_plan(plan_view(head, ledger.get_table(head["table_hash"]) or ""))
    return engine


def engine_round(engine: Engine, jobs: list[JobFields]) -> EngineRound:
    """Run the jobs in a new engine, alone."""
    side = {"width": 128, "height": 128, "negative_prompt": "", "guidance_scale": 5.0, "n": 1}
    for number, job in enumerate(jobs):
        engine.admit(Request(job_id=str(number), **{**side, **job}))  # type: ignore[arg-type]
    images, reports, done_s, cpu_s = list[ImageReady](), list[SlotReport](), list[float](), time.process_time()
    began = time.perf_counter()
    stepping_s = 0.0
    while not engine.idle:
        started = time.perf_counter()
        events = engine.step()
        ended = time.perf_counter()
        stepping_s += ended - started
        made = [event for event in events if isinstance(event, ImageReady)]
        images += made
        done_s += [ended - began] * len(made)
        reports += [event for event in events if isinstance(event, SlotReport)]
    return EngineRound(
        done_s=done_s,
        rows_per_call=mean_rows([(image.receipt.rows_run, image.receipt.rows_per_call) for image in images]),
        engine_cpu_s=time.process_time() - cpu_s,
        stepping_s=stepping_s,
        calls_s=sum(report.unet_s + report.vae_s for report in reports),
    )


def mean_rows(images: list[tuple[int, float]]) -> float:
    """Mean rows of the UNet calls that images took part in, from their own rows and their receipts."""
    return sum(rows * per_call for rows, per_call in images) / sum(rows for rows, _ in images)


def fleet_round(client: Client, jobs: list[JobFields], books: Bookkeeper) -> FleetRound:
    """Send the jobs through the fleet at once; times are by Redis's clock, from the first submit."""
    with books.keeping() as account:
        views = client.wait_many(client.submit_many(jobs), timeout_s=3600)
    if any(view.state != "succeeded" for view in views):
        raise SystemExit("a job of the benchmark did not succeed")
    began = min(view.created_at for view in views)
    receipts = [view.receipt for view in views if view.receipt is not None]
    return FleetRound(
        done_s=sorted((view.finished_at or 0.0) - began for view in views),
        rows_per_call=mean_rows([(receipt.rows_run, receipt.rows_per_call) for receipt in receipts]),
        engine_cpu_s=account.cpu_s[ENGINE],
        account=account,
    )


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
def fleet(directory: Path, threads: int) -> Iterator[Stack]:
    """A whole fleet whose worker has ``threads`` torch threads."""
    os.environ |= {"SYNERDIFF_THREADS": str(threads), "SYNERDIFF_CAPACITY": str(CAPACITY)}
    with Stack(directory, model=SHIPPED_MODEL) as stack:
        stack.start()
        yield stack


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
    model = load_model(None, threads=threads)
    alone: list[EngineRound] = []
    whole: list[FleetRound] = []
    with ExitStack() as open_now:
        scratch = Path(open_now.enter_context(tempfile.TemporaryDirectory()))
        progress = open_now.enter_context(Progress(console=console))
        bar = progress.add_task("submits", total=2 + 2 * (rounds + 1))
        submitted = submits(scratch / "submits", SUBMITS)
        progress.update(bar, advance=1, description="starting the fleet")
        stack = open_now.enter_context(fleet(scratch / "fleet", threads))
        client = open_now.enter_context(Client(stack.settings))
        ledger = Ledger.connect(stack.redis_url)
        open_now.callback(ledger.close)
        books = Bookkeeper(stack.describe()["pids"], Meter(ledger.client))
        for number in range(rounds + 1):  # the first warms both and is dropped
            work = workload(jobs if number else WARM_UP)
            progress.update(bar, description=f"round {number} of {rounds}: fleet")
            whole.append(fleet_round(client, work, books))
            progress.update(bar, advance=1, description=f"round {number} of {rounds}: engine alone")
            alone.append(engine_round(fleets_engine(model, ledger, threads), work))
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


def figures(alone: list[EngineRound], whole: list[FleetRound]) -> dict[str, Any]:
    """The rounds, the overheads as medians over them, and the last round's account for each job."""
    rounds = [
        {
            "engine_images_per_s": engine.saturated,
            "fleet_images_per_s": fleet.saturated,
            "lost": 1.0 - fleet.saturated / engine.saturated,
            "engine_whole_run_images_per_s": engine.whole,
            "fleet_whole_run_images_per_s": fleet.whole,
            "whole_run_lost": 1.0 - fleet.whole / engine.whole,
            "engine_rows_per_call": engine.rows_per_call,
            "fleet_rows_per_call": fleet.rows_per_call,
            "engine_cpu_s_per_image": engine.engine_cpu_s / len(engine.done_s),
            "fleet_engine_cpu_s_per_image": fleet.engine_cpu_s / len(fleet.done_s),
        }
        for engine, fleet in zip(alone, whole, strict=True)
    ]
    return {
        "rounds": rounds,
        "fleet_overhead": statistics.median(each["lost"] for each in rounds),
        "whole_run_overhead": statistics.median(each["whole_run_lost"] for each in rounds),
        "engine_overhead": statistics.median(engine.overhead for engine in alone),
        "account_per_job": whole[-1].account.over(len(whole[-1].done_s)),
    }


PAIRS = (
    ("images/s, saturated", "engine_images_per_s", "fleet_images_per_s", ".2f"),
    ("images/s, whole run", "engine_whole_run_images_per_s", "fleet_whole_run_images_per_s", ".2f"),
    ("rows in a UNet call", "engine_rows_per_call", "fleet_rows_per_call", ".1f"),
    ("engine's CPU s an image", "engine_cpu_s_per_image", "fleet_engine_cpu_s_per_image", ".3f"),
)


def report(document: dict[str, Any]) -> Table:
    """The figures for a person."""
    table = Table("figure", "engine alone", "fleet", "lost", "aim", title="What the fleet costs")
    lost = {"images/s, saturated": "fleet_overhead", "images/s, whole run": "whole_run_overhead"}
    for title, alone, whole, form in PAIRS:
        both = (statistics.median(each[name] for each in document["rounds"]) for name in (alone, whole))
        share = f"{document[lost[title]]:.1%}" if title in lost else ""
        table.add_row(title, *(format(value, form) for value in both), share, "< 5%" if "saturated" in title else "")
    table.add_row("outside UNet and VAE calls", f"{document['engine_overhead']:.1%}", "", "", "< 3%")
    for kind, rate in document["submits_per_s"].items():
        table.add_row(f"submits/s, {kind.replace('_', ' ')}", "", f"{rate:.0f}", "", "")
    for share, value in document["submit_to_start_s"].items():
        table.add_row(f"submit to start, {share}", "", f"{value * 1000:.1f} ms", "", "")
    return table


def account_table(account: dict[str, Any]) -> Table:
    """Where the CPU seconds and the calls of one job went."""
    table = Table("for each job", "value", title="The fleet's account, last round")
    for part, seconds in account["cpu_s"].items():
        table.add_row(f"CPU of {part}", f"{seconds * 1000:.1f} ms")
    table.add_row("CPU beside the engine's process", f"{account['beside_engine_cpu_s'] * 1000:.1f} ms")
    table.add_row("script calls", f"{account['script_calls']:.1f}")
    table.add_row("Redis commands, in scripts too", f"{account['redis_commands']:.1f}")
    table.add_row("messages published (Celery's events)", f"{account['published']:.1f}")
    return table


def main() -> None:
    """Measure, print the table, and write the JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures here")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=96, help="at least 48")
    parser.add_argument("--threads", type=int, default=1, help="torch threads of the engine, alone and in the fleet")
    options = parser.parse_args()
    if options.jobs < 3 * CAPACITY:
        parser.error(f"--jobs must be at least {3 * CAPACITY}, or the batch is hardly ever full; got {options.jobs}")
    console = Console()
    document = measure(options.rounds, options.jobs, options.threads, console)
    console.print(report(document), account_table(document["account_per_job"]))
    if options.json:
        options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
