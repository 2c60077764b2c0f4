"""``synerdiff demo``: the whole fleet at work, once, with nothing left behind but the images."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from synerdiff.cli.console import FAILED, err, out, print_json

if TYPE_CHECKING:
    from synerdiff.cli.demo import Made
    from synerdiff.cli.stack import Stack

EPILOG = """
[bold]What it does[/bold]

  Starts Redis, S3, the scheduler, a worker, the gateway and Flower on this machine, submits a mixed workload, \
follows it, fetches the images from S3, checks them against their records, and stops everything.

It needs no account and no network. Next: [bold]synerdiff up[/bold], the same fleet, which stays.
"""


def demo(
    out_dir: Annotated[Path, typer.Option("--out", help="directory for the images and the contact sheet")] = Path(
        "demo-out"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="print the figures as one JSON line")] = False,
) -> None:
    """Start a whole fleet here, make a dozen images with it, show what happened, and clean up."""
    from synerdiff.cli.signals import StopRequested, stop_requests
    from synerdiff.cli.stack import Stack
    from synerdiff.settings.settings import SHIPPED_MODEL

    directory = Path(tempfile.mkdtemp(prefix="synerdiff-demo-"))
    try:
        with stop_requests(), Stack(directory, model=SHIPPED_MODEL) as stack:
            made = _run(stack, out_dir)
    except StopRequested:
        shutil.rmtree(directory)
        err.print("stopped")
        raise typer.Exit(FAILED) from None
    except BaseException:
        err.print(f"the logs of every part are in {directory / 'logs'}", soft_wrap=True)
        raise
    shutil.rmtree(directory)
    _report(made, as_json)


def _run(stack: Stack, out_dir: Path) -> Made:
    from synerdiff.cli.demo import make_images

    started = time.monotonic()
    with err.status("starting the fleet") as status:
        stack.start(lambda part: status.update(f"starting the fleet: {part}"))
    err.print(f"the fleet is up after {time.monotonic() - started:.1f} s; while it works:")
    err.print(f"  Flower   {stack.flower_url}  (every job is a task)", soft_wrap=True)
    err.print(f"  gateway  {stack.gateway_url}", soft_wrap=True)
    err.print(f"  S3       {stack.s3.endpoint}  bucket {stack.s3.bucket}", soft_wrap=True)
    made = make_images(stack.settings, out_dir)
    with err.status("stopping the fleet"):
        stack.stop()
    return made


def _report(made: Made, as_json: bool) -> None:
    figures = made.figures()
    if as_json:
        print_json(figures)
        return
    out.print(_latency_table(figures["latency_s"]))
    run, skipped, share = figures["rows_run"], figures["rows_skipped"], figures["rows_skipped_share"]
    out.print(f"skip-CFG left out {skipped} of {run + skipped} UNet rows ({share:.1%}); by class of quality:")
    for quality, counted in made.rows_by_quality().items():
        out.print(f"  {quality:<9} {counted.skipped} of {counted.run + counted.skipped} ({counted.saved:.1%})")
    out.print(f"continuous batching: {figures['rows_per_call']:.1f} rows in a UNet call on average")
    out.print(
        f"{figures['images']} images of {figures['jobs']} jobs in {figures['seconds']:.1f} s,"
        " each fetched from S3 and equal to its record's sha256"
    )
    out.print(f"look at {made.sheet}", soft_wrap=True)


def _latency_table(phases: dict[str, dict[str, float]]) -> Table:
    table = Table("seconds", "p50", "p99", title="Latency of the jobs")
    for phase, values in phases.items():
        table.add_row(phase.replace("_", " "), f"{values['p50']:.3f}", f"{values['p99']:.3f}")
    return table
