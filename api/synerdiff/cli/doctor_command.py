"""``synerdiff doctor``: what is installed, what is found, what can be reached."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Column, Table

from synerdiff.cli.console import out, print_json

EPILOG = """
[bold]Examples[/bold]

  synerdiff doctor
  synerdiff doctor --json | jq .dependencies
  synerdiff doctor --settings
  synerdiff doctor --model /models/stable-diffusion-v1-5      can this checkpoint be served, and what applies to it?
  synerdiff doctor --model org/name --revision COMMIT         the same of a hub id

The exit code is 0 whatever is found: it reports, the services themselves refuse to start. Only a checkpoint that \
cannot be served is an error, with the file and the reason.
"""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="one JSON document")] = False,
    settings: Annotated[bool, typer.Option("--settings", help="list every setting, its value and meaning")] = False,
    model: Annotated[str | None, typer.Option("--model", help="say what this directory or hub id is")] = None,
    revision: Annotated[str | None, typer.Option("--revision", help="pinned revision of a hub id")] = None,
) -> None:
    """Say which versions and devices are here, where the model is, and what can be reached (or why not)."""
    from synerdiff.cli import diagnosis

    if settings:
        rows = diagnosis.settings_table()
        _print_settings(rows, as_json)
        return
    if model is not None:
        _print_model(model, revision, as_json)
        return
    document = diagnosis.examine()
    if as_json:
        print_json(document)
    else:
        out.print(_table(document))


def _print_model(model: str, revision: str | None, as_json: bool) -> None:
    from synerdiff.cli.extras import require

    require("worker")
    from synerdiff.cli.model_report import examine_model, model_table

    document = examine_model(model, revision)
    if as_json:
        print_json(document)
    else:
        out.print(model_table(document))


def _print_settings(rows: list[dict[str, str]], as_json: bool) -> None:
    if as_json:
        for row in rows:
            print_json(row)
        return
    table = Table("variable", "value", "meaning")
    for row in rows:
        table.add_row(row["variable"], row["value"], row["meaning"])
    out.print(table)


def _table(document: dict[str, object], prefix: str = "") -> Table:
    table = Table(Column(no_wrap=True), Column(overflow="fold"), show_header=False)
    for name, text in _flat(document, ""):
        table.add_row(name, text)
    return table


def _flat(value: object, name: str) -> list[tuple[str, str]]:
    """Nested values as dotted names and texts, in order."""
    if isinstance(value, dict):
        return [row for key, inner in value.items() for row in _flat(inner, f"{name}.{key}" if name else str(key))]
    if isinstance(value, list):
        return [row for number, inner in enumerate(value) for row in _flat(inner, f"{name}.{number}")]
    return [(name, "-" if value is None else str(value))]
