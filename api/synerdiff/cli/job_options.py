"""The options of ``synerdiff generate`` that are a job's fields; without one, its default applies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

JOB = "The job \\[default of what is left out]"

JobId = Annotated[
    str | None, typer.Option("--id", rich_help_panel=JOB, help="the same id again is the same job \\[a new ULID]")
]
Model = Annotated[str | None, typer.Option(rich_help_panel=JOB, help="its name \\[SYNERDIFF_MODEL]")]
NegativePrompt = Annotated[str | None, typer.Option(rich_help_panel=JOB, help="what to keep away from")]
Width = Annotated[int | None, typer.Option(rich_help_panel=JOB, help="pixels \\[the model's own]")]
Height = Annotated[int | None, typer.Option(rich_help_panel=JOB, help="pixels \\[the model's own]")]
Steps = Annotated[int | None, typer.Option(rich_help_panel=JOB, help="denoising steps \\[25]")]
GuidanceScale = Annotated[
    float | None, typer.Option("--guidance-scale", "--guidance", rich_help_panel=JOB, help="1 turns it off \\[5.0]")
]
Sampler = Annotated[
    str | None,
    typer.Option(rich_help_panel=JOB, help="ddim, euler, euler_a, dpmpp_2m, dpmpp_2m_karras or lcm \\[dpmpp_2m]"),
]
Seed = Annotated[int | None, typer.Option(rich_help_panel=JOB, help="image i uses seed + i \\[chosen, and recorded]")]
Images = Annotated[int | None, typer.Option("--n", rich_help_panel=JOB, help="images \\[1]")]
Quality = Annotated[
    str | None,
    typer.Option(rich_help_panel=JOB, help="exact (never skips guidance), balanced or fast \\[balanced]"),
]
Priority = Annotated[int | None, typer.Option(rich_help_panel=JOB, help="0 to 9, 9 the most urgent \\[5]")]
Deadline = Annotated[float | None, typer.Option(rich_help_panel=JOB, help="seconds until it expires \\[none]")]
ImageFormat = Annotated[str | None, typer.Option("--format", rich_help_panel=JOB, help="png, webp or jpeg \\[png]")]
Webhook = Annotated[str | None, typer.Option(rich_help_panel=JOB, help="URL told when it ends")]
Tenant = Annotated[str | None, typer.Option(rich_help_panel=JOB, help="whose share of the pool \\[default]")]
Metadata = Annotated[list[str] | None, typer.Option(rich_help_panel=JOB, help="key=value; may be repeated")]


def job_fields(given: dict[str, Any], metadata: Sequence[str] | None) -> dict[str, Any]:
    """The fields that were given, by their names in a job."""
    from synerdiff.cli.job_input import read_metadata

    every = {**given, "metadata": read_metadata(list(metadata or []))}
    return {name: value for name, value in every.items() if value is not None}
