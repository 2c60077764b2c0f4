"""``synerdiff generate``: jobs in, image files out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synerdiff.cli.console import FAILED

JOB = "The job \\[default of what is left out]"

EPILOG = """
[bold]Examples[/bold]

  synerdiff generate "a penguin in the snow"
  synerdiff generate "a blue heart" --n 4 --seed 7 --steps 30 --quality exact --out hearts
  synerdiff generate --jobs jobs.jsonl --out images --json > results.jsonl
  synerdiff generate --replay hearts/01J...-0.png        makes the same image again, on this machine

A jobs file has a job a line, such as {"prompt": "a red apple", "steps": 20, "sampler": "euler"}.
[bold]generate[/bold] finds its fleet by SYNERDIFF_REDIS_URL and SYNERDIFF_S3_...; [bold]synerdiff up[/bold] starts one.
"""


def generate(
    prompt: Annotated[str | None, typer.Argument(help="what to draw")] = None,
    out_dir: Annotated[Path, typer.Option("--out", help="directory for the image files")] = Path("images"),
    jobs: Annotated[Path | None, typer.Option("--jobs", help="a file with a job (JSON object) a line")] = None,
    replay: Annotated[
        Path | None, typer.Option("--replay", help="a receipt (JSON), or an image that carries one: make it again here")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one result object a line on standard output")] = False,
    timeout: Annotated[float | None, typer.Option(help="seconds to wait; the jobs go on after that")] = None,
    job_id: Annotated[
        str | None, typer.Option("--id", rich_help_panel=JOB, help="the same id again is the same job \\[a new ULID]")
    ] = None,
    model: Annotated[str | None, typer.Option(rich_help_panel=JOB, help="its name \\[SYNERDIFF_MODEL]")] = None,
    negative_prompt: Annotated[str | None, typer.Option(rich_help_panel=JOB, help="what to keep away from")] = None,
    width: Annotated[int | None, typer.Option(rich_help_panel=JOB, help="pixels \\[the model's own]")] = None,
    height: Annotated[int | None, typer.Option(rich_help_panel=JOB, help="pixels \\[the model's own]")] = None,
    steps: Annotated[int | None, typer.Option(rich_help_panel=JOB, help="denoising steps \\[25]")] = None,
    guidance_scale: Annotated[
        float | None, typer.Option("--guidance-scale", "--guidance", rich_help_panel=JOB, help="1 turns it off \\[5.0]")
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(rich_help_panel=JOB, help="ddim, euler, euler_a, dpmpp_2m, dpmpp_2m_karras or lcm \\[dpmpp_2m]"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(rich_help_panel=JOB, help="image i uses seed + i \\[chosen, and recorded]")
    ] = None,
    n: Annotated[int | None, typer.Option("--n", rich_help_panel=JOB, help="images \\[1]")] = None,
    quality: Annotated[
        str | None,
        typer.Option(rich_help_panel=JOB, help="exact (never skips guidance), balanced or fast \\[balanced]"),
    ] = None,
    priority: Annotated[int | None, typer.Option(rich_help_panel=JOB, help="0 to 9, 9 the most urgent \\[5]")] = None,
    deadline_s: Annotated[
        float | None, typer.Option(rich_help_panel=JOB, help="seconds until it expires \\[none]")
    ] = None,
    image_format: Annotated[
        str | None, typer.Option("--format", rich_help_panel=JOB, help="png, webp or jpeg \\[png]")
    ] = None,
    webhook: Annotated[str | None, typer.Option(rich_help_panel=JOB, help="URL told when it ends")] = None,
    tenant: Annotated[str | None, typer.Option(rich_help_panel=JOB, help="whose share of the pool \\[default]")] = None,
    metadata: Annotated[list[str] | None, typer.Option(rich_help_panel=JOB, help="key=value; may be repeated")] = None,
) -> None:
    """Submit jobs, follow them, and save their images; exit code 0 only if all succeeded."""
    from synerdiff.cli import generation
    from synerdiff.cli.job_input import read_metadata

    given = {
        "id": job_id,
        "prompt": prompt,
        "model": model,
        "negative_prompt": negative_prompt,
        "width": width,
        "height": height,
        "steps": steps,
        "guidance_scale": guidance_scale,
        "sampler": sampler,
        "seed": seed,
        "n": n,
        "quality": quality,
        "priority": priority,
        "deadline_s": deadline_s,
        "format": image_format,
        "webhook": webhook,
        "tenant": tenant,
        "metadata": read_metadata(metadata or []),
    }
    fields = {name: value for name, value in given.items() if value is not None}
    if replay is not None:
        generation.repeat(replay, out_dir, fields, as_json)
    elif not generation.run(jobs, fields, out_dir, as_json, timeout):
        raise typer.Exit(FAILED)
