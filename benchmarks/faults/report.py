"""The report of a run: a document for programs, tables for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

COLUMNS = (
    "row",
    "lasted_s",
    "hit",
    "taken_back_s",
    "first_again_s",
    "in_work_again_s",
    "settled_s",
    "open",
    "lost",
    "doubled",
)
HEADS = (
    "fault",
    "lasted s",
    "jobs hit",
    "taken back s",
    "first again s",
    "in work again s",
    "settled s",
    "jobs open",
    "lost",
    "doubled",
)


def _text(value: object) -> str:
    return "-" if value is None else str(value)


def markdown(document: dict[str, Any]) -> str:
    """The run as Markdown."""
    lines = [
        f"# Fault bench, seed {document['seed']}: {'passed' if document['passed'] else 'FAILED'}",
        "",
        f"{len(document['faults'])} faults in {document['minutes']:.1f} minutes; {document['accepted']} jobs accepted, "
        f"{document['refused']} refused; ends: {document['ends']}; {document['restarts']} processes restarted; "
        f"load average {document['load_average']:.0f}.",
        f"Lost {document['lost']}, doubled {document['doubled']}, left over {document['left_over']}.",
        "",
        "| " + " | ".join(HEADS) + " |",
        "|" + "---|" * len(HEADS),
    ]
    lines += ["| " + " | ".join(_text(each[name]) for name in COLUMNS) + " |" for each in document["faults"]]
    lines += ["", "| invariant | breaches |", "|---|---|"]
    lines += [f"| {name} | {len(found)} |" for name, found in document["invariants"].items()]
    lines += ["", *(f"- {breach}" for found in document["invariants"].values() for breach in found)]
    return "\n".join(lines) + "\n"


def show(document: dict[str, Any], console: Console) -> None:
    """Print the run."""
    table = Table(*HEADS, title=f"Fault bench, seed {document['seed']}")
    for each in document["faults"]:
        table.add_row(*(_text(each[name]) for name in COLUMNS))
    console.print(table)
    for name, found in document["invariants"].items():
        console.print(f"{'ok  ' if not found else 'FAIL'} {name}", highlight=False)
        for breach in found[:20]:
            console.print(f"     {breach}", highlight=False, markup=False)
    console.print(f"{document['accepted']} accepted, {document['refused']} refused, ends {document['ends']}")
    console.print("passed" if document["passed"] else "FAILED")


def write(document: dict[str, Any], path: Path) -> None:
    """Write the JSON, and Markdown beside it."""
    path.write_text(json.dumps(document, indent=2) + "\n")
    path.with_suffix(".md").write_text(markdown(document))
