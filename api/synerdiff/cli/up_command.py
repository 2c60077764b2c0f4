"""``synerdiff up``: the whole fleet on this machine, until it is told to stop."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from synerdiff.cli.console import err, out, print_json
from synerdiff.cli.signals import StopRequested, stop_requests

if TYPE_CHECKING:
    from synerdiff.cli.stack import Stack

WATCH_S = 0.5

EPILOG = """
[bold]Examples[/bold]

  synerdiff up                          the fleet with one worker, free ports, state in ./synerdiff-data
  synerdiff up --workers 2 --port-base 17000
  source synerdiff-data/stack.env       in another shell: now every command finds this stack
  synerdiff generate "a penguin in the snow" --out images

Stop it with Ctrl-C. Nothing that dies is started again; logs are in DIR/logs.
"""


def up(
    workers: Annotated[int, typer.Option("--workers", min=1, max=64, help="GPU workers to start")] = 1,
    directory: Annotated[Path, typer.Option("--dir", help="where all state lives: queue, images, logs, keys")] = Path(
        "synerdiff-data"
    ),
    port_base: Annotated[
        int | None, typer.Option("--port-base", help="use this port and those after it; free ones if not given")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="print one JSON line with all addresses and process ids when ready")
    ] = False,
) -> None:
    """Run the whole fleet on this machine: Redis, S3, scheduler, workers, gateway and Flower."""
    from synerdiff.cli.stack import Stack
    from synerdiff.settings import load

    settings = load()
    try:
        with stop_requests(), Stack(directory, model=settings.model, workers=workers, port_base=port_base) as stack:
            with err.status("starting") as status:
                stack.start(lambda part: status.update(f"starting {part}"))
            if as_json:
                print_json(stack.describe())
            else:
                out.print(_addresses(stack))
            _watch(stack)
    except StopRequested:
        err.print("stopped")


def _watch(stack: Stack) -> None:
    """Say once of each part that it died, for as long as the stack runs."""
    known: set[str] = set()
    while True:
        for name in sorted(set(stack.dead()) - known):
            err.print(f"{name} stopped; see {stack.log(name)}", style="yellow")
            known.add(name)
        time.sleep(WATCH_S)


def _addresses(stack: Stack) -> Table:
    table = Table(title="SynerDiff is up", show_header=False, title_justify="left")
    table.add_row("gateway", stack.gateway_url)
    table.add_row("Flower", stack.flower_url)
    table.add_row("Redis", stack.redis_url)
    table.add_row("S3", f"{stack.s3.endpoint} bucket {stack.s3.bucket}")
    table.add_row("model", stack.model)
    table.add_row("logs", str(stack.directory / "logs"))
    table.add_row("in another shell", f"source {stack.environment_file}")
    return table
