"""Writes the figures of several runs into the tables of ``docs/reliability.md``.

``python -m benchmarks.faults.page A.json B.json ... [--page docs/reliability.md]``: a row a seed, and for each fault
the least and the most over all runs. The words of the page stay as they are.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs/reliability.md"
RANGED = ("taken_back_s", "first_again_s", "in_work_again_s")
_SEED_ROW = re.compile(r"^\| \d+ \|")
_FAULT_ROW = re.compile(r"^\| [^|]*\(`(\w+)`\) \| [^|]* \|")


def seed_row(run: dict[str, Any]) -> str:
    """The row of a run in the table of seeds."""
    ends = run["ends"]
    cells = [
        run["seed"],
        round(run["minutes"]),
        len(run["faults"]),
        run["accepted"],
        run["refused"],
        *(ends.get(state, 0) for state in ("succeeded", "dead", "cancelled")),
        *(run[name] for name in ("lost", "doubled", "left_over")),
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def span(values: Iterable[float | None]) -> str:
    """The least and the most of what was measured; one figure where they are equal."""
    found = [value for value in values if value is not None]
    if not found:
        return "-"
    least, most = min(found), max(found)
    return f"{most:.1f}" if least == most else f"{least:.1f} to {most:.1f}"


def fault_cells(rows: Sequence[dict[str, Any]]) -> str:
    """The cells of a fault behind its words."""
    sums = {name: sum(row[name] for row in rows) for name in ("hit", "lost", "doubled")}
    spans = [span(row[name] for row in rows) for name in RANGED]
    return " " + " | ".join([str(len(rows)), str(sums["hit"]), *spans, str(sums["lost"]), str(sums["doubled"])]) + " |"


def filled(page: str, runs: Sequence[dict[str, Any]]) -> str:
    """The page with these runs' figures; faults that no run injected keep a row without any."""
    by_fault: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        for row in run["faults"]:
            by_fault.setdefault(row["fault"], []).append(row)
    lines: list[str] = []
    seeds = [seed_row(run) for run in sorted(runs, key=lambda run: int(run["seed"]))]
    for line in page.splitlines():
        if _SEED_ROW.match(line):
            lines += seeds
            seeds = []
        elif found := _FAULT_ROW.match(line):
            lines.append(found[0] + fault_cells(by_fault.get(found[1], [])))
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Fill the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults.page", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN.json")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    runs = [json.loads(path.read_text()) for path in options.runs]
    options.page.write_text(filled(options.page.read_text(), runs))


if __name__ == "__main__":
    main()
