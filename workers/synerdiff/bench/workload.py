"""Traces: which jobs arrive when. A trace is a job a line with ``at``, its arrival in seconds."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from synerdiff.engine.types import Request
from synerdiff.protocol import Limits, ModelEntry, parse_job
from synerdiff.protocol.errors import InvalidJob, TraceError

Kind = Literal["mixed", "uniform", "few"]

OBJECTS = (
    "apple",
    "star",
    "cat",
    "penguin",
    "heart",
    "sailboat",
    "pumpkin",
    "rose",
    "umbrella",
    "bus",
    "house",
    "tree",
)
COLOURS = ("red", "blue", "green", "yellow", "pink", "purple", "orange")
LATEST_S = 1e12  # a trace may have the times of a clock, in seconds
BACKGROUNDS = ("white", "black", "blue", "pink", "green", "yellow", "orange", "purple")


@dataclass(frozen=True, slots=True)
class Arrival:
    """One job of a trace: its arrival in seconds after the start, and what it asks for."""

    at: float
    request: Request


def _arrival_time(value: Any, line: int, before: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LATEST_S:
        raise TraceError(f"at (line {line}) must be seconds from 0 to {LATEST_S:g}; got {value!r:.40}", field="at")
    if value < before:
        raise TraceError(f"at (line {line}) must not go backwards; got {value} after {before}", field="at")
    return float(value)


def _request(fields: dict[str, Any], line: int, limits: Limits, entry: ModelEntry) -> Request:
    fields = {name: value for name, value in fields.items() if value is not None}
    try:
        job = parse_job({"id": f"trace-{line}", "seed": line, **fields}, limits=limits, entry=entry)
    except InvalidJob as error:
        raise TraceError(f"line {line}: {error.message}", field=error.field) from None
    shared = (
        "prompt",
        "negative_prompt",
        "width",
        "height",
        "steps",
        "guidance_scale",
        "sampler",
        "seed",
        "n",
        "quality",
    )
    return Request(job_id=job.id, priority=job.priority, **{name: getattr(job, name) for name in shared})


def read_trace(lines: Iterable[str], *, limits: Limits, entry: ModelEntry) -> list[Arrival]:
    """Parse a trace, whose first job arrives at 0 then; raises :class:`TraceError` naming the line and the field."""
    arrivals: list[Arrival] = []
    ids: dict[str, int] = {}
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise TraceError(f"line {number} is not JSON: {error}", field="line") from None
        if not isinstance(fields, dict):
            raise TraceError(f"line {number} must be a JSON object; got {type(fields).__name__}", field="line")
        before = arrivals[-1].at if arrivals else 0.0
        at = _arrival_time(fields.pop("at", None), number, before)
        request = _request(fields, number, limits, entry)
        if ids.setdefault(request.job_id, number) != number:
            first = ids[request.job_id]
            raise TraceError(f"id (line {number}) must be its own; line {first} has {request.job_id!r} too", field="id")
        arrivals.append(Arrival(at, request))
    if not arrivals:
        raise TraceError("the trace has no jobs", field="trace")
    return [replace(arrival, at=arrival.at - arrivals[0].at) for arrival in arrivals]


def load_trace(path: Path, *, limits: Limits, entry: ModelEntry) -> list[Arrival]:
    """Read a trace from a file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise TraceError(f"trace {path} cannot be read: {reason}", field="trace") from None
    return read_trace(text.split("\n"), limits=limits, entry=entry)


def _fields(kind: Kind, rng: random.Random) -> dict[str, Any]:
    prompt = f"a {rng.choice(COLOURS)} {rng.choice(OBJECTS)} on a {rng.choice(BACKGROUNDS)} background"
    fields: dict[str, Any] = {"prompt": prompt, "seed": rng.randrange(2**31)}
    if kind == "uniform":
        return fields | {"steps": 25, "guidance_scale": 5.0, "sampler": "ddim"}
    if kind == "few":
        return fields | {"steps": 4, "guidance_scale": 1.0, "sampler": "euler"}
    return fields | {
        "steps": rng.choice((4, 8, 12, 16, 20, 25, 25, 30, 40, 50)),
        "guidance_scale": rng.choice((3.0, 4.0, 5.0, 6.0, 7.5)),
        "sampler": rng.choice(("ddim", "euler", "dpmpp_2m")),
    }


def make_trace(kind: Kind, jobs: int, *, rate: float | None, seed: int, burst: float = 1.0) -> list[dict[str, Any]]:
    """Draw a trace as JSON objects.

    ``rate`` is the mean of a Poisson process in jobs per second; None puts every arrival at 0. With ``burst``
    over 1 the middle third of the jobs arrives that many times faster.
    """
    rng = random.Random(f"{kind}/{seed}")
    now, lines = 0.0, []
    for index in range(jobs):
        lines.append({"at": round(now, 4), **_fields(kind, rng)})
        if rate is not None:
            hot = burst if jobs // 3 <= index < 2 * jobs // 3 else 1.0
            now += rng.expovariate(rate * hot)
    return lines


def write_trace(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Write a trace, a job a line."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
