"""``synerdiff profile``: what a model costs on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synerdiff.cli.console import err, out, print_json

EPILOG = """[bold]Examples[/bold]

[cyan]synerdiff profile[/cyan]   the default model at its own size on this machine

[cyan]synerdiff profile --width 512 --height 512 --plot curves.png --publish[/cyan]

Profiles are kept on disk under a hash of all that they depend on; [bold]--fresh[/bold] measures again. Close other \
programs first: a busy neighbour on the machine distorts every figure. Workers on this machine go by what is kept \
from their next start on.
"""


def profile(
    model: Annotated[
        str | None, typer.Option(help="checkpoint directory or hub id; without: the default model")
    ] = None,
    width: Annotated[int | None, typer.Option(min=8, help="in pixels; without: the model's own")] = None,
    height: Annotated[int | None, typer.Option(min=8, help="in pixels; without: the model's own")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N")] = None,
    dtype: Annotated[str | None, typer.Option(help="auto, float32, float16 or bfloat16")] = None,
    max_rows: Annotated[int, typer.Option(min=1, help="largest UNet call to measure")] = 32,
    repeats: Annotated[int, typer.Option(min=1, help="interleaved rounds")] = 5,
    executor: Annotated[str | None, typer.Option(help="auto, serial, threads or streams")] = None,
    threads: Annotated[int | None, typer.Option(min=0, help="torch threads; 0 measures which is best")] = None,
    unet_rows: Annotated[
        str | None, typer.Option(help="any, padded or compiled: as workers call the UNet; without: the setting")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the profile as one JSON document")] = False,
    plot: Annotated[Path | None, typer.Option(help="draw the curves here (PNG)")] = None,
    publish: Annotated[
        bool | None,
        typer.Option(
            "--publish/--no-publish",
            help="write it to Redis, where the scheduler finds it; without: if a fleet of this model runs there",
        ),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="measure again, whatever is on disk")] = False,
) -> None:
    """Measure UNet calls by rows, VAE chunks by granularity, and both beside each other."""
    from synerdiff.cli.extras import require

    require("worker")
    from synerdiff.cli.outputs import check_outputs

    check_outputs(plot=plot)
    from synerdiff.cli import profile_run
    from synerdiff.settings import load

    given = {"model_path": model, "device": device, "dtype": dtype, "executor": executor, "threads": threads}
    settings = load({**given, "unet_rows": unet_rows})
    size = (width, height)
    found = profile_run.obtain(settings, size, max_rows=max_rows, repeats=repeats, fresh=fresh)
    if plot is not None:
        profile_run.draw(found, plot)
        err.print(f"curves in {plot}")
    if publish or (publish is None and profile_run.fleet_found(settings)):
        profile_run.publish(found, settings)
        err.print(f"published as {found.profile_id}")
    if as_json:
        print_json(profile_run.document(found))
    else:
        for table in profile_run.tables(found):
            out.print(table)
