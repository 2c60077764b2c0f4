"""What ``synerdiff bench`` does once its options are read; imports torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from synerdiff.bench.suite import Settings, Suite
from synerdiff.bench.workload import Arrival, load_trace, make_trace, read_trace
from synerdiff.cli.console import err
from synerdiff.engine.model import LoadedModel, load_model, shipped_path
from synerdiff.engine.profiler import profile_of
from synerdiff.protocol import Limits
from synerdiff.protocol.errors import TraceError
from synerdiff.settings import load


def prepare(
    trace: Path | None,
    make: str | None,
    jobs: int,
    rate: float | None,
    burst: float,
    seed: int,
    model: str | None,
    dtype: str,
    settings: Settings,
) -> Suite:
    """Load model, trace and profile. Raises :class:`TraceError` naming the option or line that is wrong."""
    if make is not None and make not in ("mixed", "uniform", "few"):
        raise TraceError(f"make must be mixed, uniform or few; got {make!r}", field="make")
    if (trace is None) == (make is None):
        raise TraceError("give either --trace FILE.jsonl or --make mixed|uniform|few", field="trace")
    path = Path(model).expanduser() if model else shipped_path()
    loaded = load_model(path, name=path.name, threads=settings.threads, dtype=dtype)
    arrivals = _arrivals(trace, make, jobs, rate, burst, seed, loaded)
    first = arrivals[0].request
    with err.status("measuring the profile of this model on this machine (kept for the next time)"):
        profile = profile_of(
            loaded, first.width, first.height, cache_dir=load().cache_dir, threads=settings.threads, executor="auto"
        )
    with err.status("tuning the static baseline for this trace"):
        return Suite(loaded, path, profile, arrivals, settings)


def _arrivals(
    trace: Path | None, make: Any, jobs: int, rate: float | None, burst: float, seed: int, model: LoadedModel
) -> list[Arrival]:
    if trace is not None:
        return load_trace(trace, limits=Limits(), entry=model.entry)
    lines = make_trace(make, jobs, rate=rate, seed=seed, burst=burst)
    return read_trace([json.dumps(line) for line in lines], limits=Limits(), entry=model.entry)


def run_with_progress(suite: Suite) -> dict[str, Any]:
    """Run every round behind a progress bar on standard error."""
    columns = (TextColumn("{task.description:<32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err) as bar:
        task = bar.add_task("starting")
        return suite.rounds(lambda name, done, total: bar.update(task, description=name, completed=done, total=total))
