"""``synerdiff generate``: jobs in, image files out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synerdiff.cli import job_options as options
from synerdiff.cli.console import FAILED

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
    job_id: options.JobId = None,
    model: options.Model = None,
    negative_prompt: options.NegativePrompt = None,
    width: options.Width = None,
    height: options.Height = None,
    steps: options.Steps = None,
    guidance_scale: options.GuidanceScale = None,
    sampler: options.Sampler = None,
    seed: options.Seed = None,
    n: options.Images = None,
    quality: options.Quality = None,
    priority: options.Priority = None,
    deadline_s: options.Deadline = None,
    image_format: options.ImageFormat = None,
    webhook: options.Webhook = None,
    tenant: options.Tenant = None,
    metadata: options.Metadata = None,
) -> None:
    """Submit jobs, follow them, and save their images; exit code 0 only if all succeeded."""
    from synerdiff.cli import generation

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
    }
    fields = options.job_fields(given, metadata)
    if replay is not None:
        generation.repeat(replay, out_dir, fields, as_json)
    elif not generation.run(jobs, fields, out_dir, as_json, timeout):
        raise typer.Exit(FAILED)
