"""``synerdiff bench``: serving policies side by side on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synerdiff.cli.console import err, out
from synerdiff.cli.vocabulary import POLICIES

EPILOG = f"""[bold]Examples[/bold]

[cyan]synerdiff bench --make mixed --jobs 48 --closed[/cyan]   saturation, every policy, three interleaved rounds

[cyan]synerdiff bench --trace day.jsonl --policies static,synerdiff --json out.json --plot out.png[/cyan]

{POLICIES}

A trace is a job a line (as in [bold]generate --jobs[/bold]) with [bold]at[/bold], its arrival in seconds. Close other \
programs first: a busy neighbour on the machine distorts every wall time.
"""


def bench(
    trace: Annotated[Path | None, typer.Option(help="trace file, a job a line with `at`")] = None,
    make: Annotated[str | None, typer.Option(help="draw a trace instead: mixed, uniform or few (4 steps)")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="jobs of a drawn trace")] = 48,
    rate: Annotated[float | None, typer.Option(min=0.001, help="its arrivals per second; without: all at once")] = None,
    burst: Annotated[float, typer.Option(min=1.0, help="its middle third arrives this many times faster")] = 1.0,
    seed: Annotated[int, typer.Option(help="its seed")] = 1,
    policies: Annotated[str, typer.Option(help="comma-separated, or all; they are named below")] = "all",
    model: Annotated[str | None, typer.Option(help="checkpoint directory; without: the shipped model")] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="torch threads, the same for every policy; without: the machine's cores")
    ] = None,
    dtype: Annotated[str, typer.Option(help="auto, float32, float16 or bfloat16")] = "auto",
    capacity: Annotated[int, typer.Option(min=1, help="images the engine holds at a time")] = 24,
    rounds: Annotated[int, typer.Option(min=1, help="interleaved rounds")] = 3,
    closed: Annotated[bool, typer.Option("--closed", help="saturation: every job is there at the start")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the figures here, - for stdout")] = None,
    plot: Annotated[Path | None, typer.Option(help="draw them here (PNG)")] = None,
) -> None:
    """Run serving policies over a trace, side by side: throughput, latency, rows, CPU time and fidelity."""
    from synerdiff.cli.extras import require

    require("worker")
    from synerdiff.cli.outputs import check_outputs, write_json

    check_outputs(json_file=json_file, plot=plot)
    from synerdiff.bench import report
    from synerdiff.bench import suite as suites
    from synerdiff.cli.bench_run import prepare, run_with_progress
    from synerdiff.engine.profiler.setup import cores

    names = suites.POLICIES if policies == "all" else tuple(name.strip() for name in policies.split(","))
    settings = suites.Settings(suites.check_policies(names), rounds, threads or cores(), capacity, closed)
    suite = prepare(trace, make, jobs, None if closed else rate, burst, seed, model, dtype, settings)
    document = run_with_progress(suite)
    if not write_json(document, json_file):
        out.print(report.markdown(document))
    if plot is not None:
        report.plot(document, plot)
    failed = [item["policy"] for item in document["policies"] if item["failed"]]
    if failed:
        err.print(f"below the fidelity floor of its class: {', '.join(failed)}")
        raise typer.Exit(1)
