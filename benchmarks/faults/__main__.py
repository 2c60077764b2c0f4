"""Command line of the fault bench.

``python -m benchmarks.faults --seed S --minutes M [--faults a,b] [--rounds N] [--json OUT]``. The exit code is 0 if
nothing was lost, doubled or left over. ``--list`` names the faults.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.faults.report import show, write
from benchmarks.faults.run import FAULTS, Plan, run
from synerdiff.protocol import Limits

MOST_STEPS = Limits().max_steps


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1, help="chooses the order of faults and the jobs")
    parser.add_argument("--minutes", type=float, default=20.0, help="inject for this long")
    parser.add_argument("--faults", default="", metavar="A,B", help="these alone (see --list)")
    parser.add_argument("--rounds", type=int, default=0, metavar="N", help="end when each fault came so often")
    parser.add_argument("--open-jobs", type=int, default=10, help="jobs that the load keeps open")
    parser.add_argument("--capacity", type=int, default=4, help="jobs at a time of each of the two workers")
    parser.add_argument("--steps", type=int, default=0, metavar="N", help="each job's; 0: 6 to 16, as it comes")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the report here, and Markdown beside it")
    parser.add_argument("--dir", type=Path, help="keep state and logs here; must be new or empty")
    parser.add_argument("--list", action="store_true", help="name the faults and end")
    options = parser.parse_args()
    options.faults = [name for name in options.faults.split(",") if name]
    unknown = [name for name in options.faults if name not in FAULTS]
    if unknown:
        parser.error(f"--faults: no fault is named {unknown[0]!r}; --list names them")
    if options.minutes <= 0:
        parser.error(f"--minutes must be above 0; got {options.minutes:g}")
    if options.capacity < 1:
        parser.error(f"--capacity must be at least 1; got {options.capacity}")
    if not 0 <= options.steps <= MOST_STEPS:
        parser.error(f"--steps must be 0 to {MOST_STEPS}; got {options.steps}")
    if options.dir is not None and options.dir.exists() and any(options.dir.iterdir()):
        parser.error(f"--dir {options.dir} is not empty")
    return options


def main() -> int:
    """Run, report, and say by the exit code whether the promise held."""
    options, console = _options(), Console(stderr=True)
    if options.list:
        for fault in FAULTS.values():
            print(f"{fault.name:22} {fault.row}")
        return 0
    plan = Plan(
        options.seed,
        options.minutes,
        options.faults,
        options.rounds,
        options.open_jobs,
        options.capacity,
        options.steps,
    )
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with contextlib.ExitStack() as stack:
        directory = options.dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="synerdiff-faults-")))
        with Progress(*columns, console=console) as progress:
            document = run(plan, directory, progress)
    show(document, Console(width=160))
    if options.json is not None:
        write(document, options.json)
    return 0 if document["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
