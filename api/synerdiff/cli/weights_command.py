"""``synerdiff weights``: a checkpoint from an object store into a directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synerdiff.cli.console import err, print_json

EPILOG = """
[bold]Examples[/bold]

  synerdiff weights s3://weights/sdxl-base-1.0 /cache/weights/sdxl
  SYNERDIFF_MODEL=sdxl SYNERDIFF_MODEL_PATH=/cache/weights/sdxl synerdiff worker

Files that are there unchanged are not fetched again. Credentials are those of SYNERDIFF_S3_*, or the AWS chain.
"""


def weights(
    uri: Annotated[str, typer.Argument(help="s3://bucket/prefix of a diffusers directory")],
    directory: Annotated[Path, typer.Argument(help="where it is written")],
    endpoint: Annotated[
        str | None, typer.Option(help="another store than that of the images \\[SYNERDIFF_S3_ENDPOINT]")
    ] = None,
    region: Annotated[str | None, typer.Option(help="its region \\[SYNERDIFF_S3_REGION]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON document")] = False,
) -> None:
    """Fetch a model's weights, before a worker that serves them starts."""
    from dataclasses import asdict

    from synerdiff.settings import load
    from synerdiff.storage import StoreConfig, fetch_weights

    settings = load({"s3_endpoint": endpoint, "s3_region": region})
    found = fetch_weights(uri, directory, StoreConfig.of(settings))
    if as_json:
        print_json({"directory": str(directory.resolve()), **asdict(found)})
    else:
        err.print(f"{found.fetched} files fetched ({found.bytes} bytes), {found.kept} kept, in {directory}")
