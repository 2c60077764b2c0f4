"""``synerdiff fidelity``: what skip-CFG saves and what it costs in the image, and its calibration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synerdiff.cli.console import err, out

EPILOG = """[bold]Examples[/bold]

[cyan]synerdiff fidelity[/cyan]   the quality classes on the held-out prompts

[cyan]synerdiff fidelity --plot frontier.png --json frontier.json[/cyan]   every criterion; takes a few minutes

[cyan]synerdiff fidelity --model DIR --calibrate[/cyan]   find a checkpoint's limits and write them beside it

Every image is compared with full guidance's from the same prompt and seed. Look at the rows "another seed" and \
"no guidance" too: a plain background alone gives a high SSIM.
"""


def fidelity(
    model: Annotated[str | None, typer.Option(help="checkpoint directory; without: the shipped model")] = None,
    prompts: Annotated[Path | None, typer.Option(help="a prompt a line; without: the held-out list")] = None,
    steps: Annotated[str, typer.Option(help="denoising steps, comma-separated")] = "25",
    guidance: Annotated[str, typer.Option(help="guidance scales, comma-separated; prompts take turns")] = "3,5,7.5",
    samplers: Annotated[str, typer.Option(help="samplers, comma-separated")] = "ddim,euler,dpmpp_2m",
    seeds: Annotated[str, typer.Option(help="base seeds, comma-separated")] = "1000",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, float16 or bfloat16")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="torch threads; 0: as torch decides")] = 0,
    frontier: Annotated[
        bool,
        typer.Option("--frontier", help="measure every skip criterion too, not the classes alone (implied by --plot)"),
    ] = False,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="first find the classes' limits and write them beside the checkpoint")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the figures here, - for stdout")] = None,
    plot: Annotated[Path | None, typer.Option(help="draw the frontier here (PNG)")] = None,
) -> None:
    """Measure each quality class against full guidance: rows saved, PSNR, SSIM and perceptual distance."""
    from synerdiff.cli.extras import require

    require("worker")
    from synerdiff.cli.outputs import check_outputs, write_json

    check_outputs(json_file=json_file, plot=plot)
    from synerdiff.cli import fidelity_run as work

    settings = work.scenarios(samplers, steps, guidance, seeds)
    texts = work.read_prompts(prompts)
    loaded, directory = work.load(model, device, threads, dtype)
    if calibrate:
        err.print(f"calibration written to {work.calibrate(loaded, directory)}")
    document = work.study(loaded, texts, settings, frontier or plot is not None)
    if not write_json(document, json_file):
        out.print(work.table(document))
    if plot is not None:
        from synerdiff.cli.fidelity_plot import draw

        draw(document, plot)
