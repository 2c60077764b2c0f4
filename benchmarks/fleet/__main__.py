"""Every round, the submits and the start latency, into one document."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

import benchmarks.fleet
from benchmarks.account import Bookkeeper
from benchmarks.fleet.rounds import (
    CAPACITY,
    EngineRound,
    FleetRound,
    engine_round,
    fleet_round,
    fleets_engine,
    workload,
)
from benchmarks.fleet.submits import starts, submits
from benchmarks.fleet.tables import account_table, figures, report
from benchmarks.machine import machine
from benchmarks.scale.meter import Meter
from synerdiff.cli.figures import percentile
from synerdiff.cli.stack import Stack
from synerdiff.client import Client
from synerdiff.engine.model import load_model
from synerdiff.ledger import Ledger
from synerdiff.settings.settings import SHIPPED_MODEL

SUBMITS = 1000
STARTS = 40
WARM_UP = 32


@contextmanager
def fleet(directory: Path, threads: int) -> Iterator[Stack]:
    """A whole fleet whose worker has ``threads`` torch threads."""
    os.environ |= {"SYNERDIFF_THREADS": str(threads), "SYNERDIFF_CAPACITY": str(CAPACITY)}
    with Stack(directory, model=SHIPPED_MODEL) as stack:
        stack.start()
        yield stack


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


def main() -> None:
    """Measure, print the table, and write the JSON if asked."""
    parser = argparse.ArgumentParser(
        description=benchmarks.fleet.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
