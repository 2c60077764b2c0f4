"""``synerdiff pools``: look at the pools; pause, resume and drain them."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from synerdiff.cli.console import FAILED, err, out, print_json

if TYPE_CHECKING:
    from synerdiff.client import Client
    from synerdiff.ledger import PoolLoad

EPILOG = """
[bold]Examples[/bold]

  synerdiff pools list
  synerdiff pools drain tiny-emoji --timeout-s 300
  synerdiff pools resume tiny-emoji
"""

POLL_S = 0.2

app = typer.Typer(help="Look at pools; pause, resume and drain them.", no_args_is_help=True, epilog=EPILOG)

AsJson = Annotated[bool, typer.Option("--json", help="one JSON object a line")]
Pool = Annotated[str, typer.Argument(metavar="POOL", help="a pool's name, see `pools list`")]


@app.command("list")
def list_pools(as_json: AsJson = False) -> None:
    """List every pool with its load: jobs, workers, capacity, and whether it is paused."""
    from synerdiff.client import Client

    with Client() as client:
        ledger = client.backend.ledger
        loads = [ledger.load(pool) for pool in ledger.pools()]
    if as_json:
        for load in loads:
            _show(load, as_json=True)
        return
    table = Table("pool", "state", "queued", "running", "workers", "capacity", "oldest")
    for load in loads:
        counts = (load.queued, load.running, load.workers, load.capacity)
        table.add_row(load.pool, _state(load), *map(str, counts), f"{load.oldest_age_s:.0f} s")
    out.print(table)


@app.command()
def pause(pool: Pool, as_json: AsJson = False) -> None:
    """Start no more jobs in a pool; running ones go on, new ones are still taken and wait."""
    from synerdiff.client import Client

    with Client() as client:
        _known(client, pool)
        client.backend.ledger.pause(pool)
        _show(client.backend.ledger.load(pool), as_json)


@app.command()
def resume(pool: Pool, as_json: AsJson = False) -> None:
    """Let a paused pool go on."""
    from synerdiff.client import Client

    with Client() as client:
        _known(client, pool)
        client.backend.ring(pool, client.backend.ledger.resume(pool))
        _show(client.backend.ledger.load(pool), as_json)


@app.command()
def drain(
    pool: Pool,
    timeout_s: Annotated[float, typer.Option(min=0, help="how long to wait for running jobs")] = 600.0,
    as_json: AsJson = False,
) -> None:
    """Pause a pool and wait until nothing runs in it: then its workers may be stopped and lose nothing. Exit 1 if jobs
    still run when the time is up; the pool stays paused."""
    from synerdiff.client import Client

    with Client() as client:
        _known(client, pool)
        ledger = client.backend.ledger
        ledger.pause(pool)
        deadline = time.monotonic() + timeout_s
        while (load := ledger.load(pool)).running and time.monotonic() < deadline:
            time.sleep(POLL_S)
        _show(load, as_json)
    if load.running:
        message = f"{load.running} jobs of pool {pool} still run after {timeout_s:g} s; it stays paused"
        err.print(message, style="red", soft_wrap=True)
        raise typer.Exit(FAILED)


def _known(client: Client, pool: str) -> None:
    from synerdiff.cli.job_input import wrong

    pools = client.backend.ledger.pools()
    if pool not in pools:
        raise wrong("pool", f"pool must be one of {', '.join(pools) or 'none yet'}; got {pool!r:.60}")


def _state(load: PoolLoad) -> str:
    if not load.paused:
        return "open"
    return "draining" if load.running else "paused"


def _show(load: PoolLoad, as_json: bool) -> None:
    if as_json:
        print_json(asdict(load))
    else:
        out.print(f"{load.pool} {_state(load)}: {load.queued} queued, {load.running} running", soft_wrap=True)
