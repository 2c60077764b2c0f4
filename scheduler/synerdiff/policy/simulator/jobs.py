"""The simulator's jobs: read from a trace, or drawn."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from synerdiff.policy import fields as read
from synerdiff.policy.errors import PolicyError

# A trace is shared with the bench, so every field of a job is known here; the ones that cost no time are not read.
_TIMELESS = (
    "id",
    "model",
    "prompt",
    "negative_prompt",
    "seed",
    "deadline_s",
    "format",
    "webhook",
    "tenant",
    "metadata",
)
_READ = ("at", "steps", "n", "guidance_scale", "sampler", "quality", "priority", "width", "height")
MOST = 100_000  # steps, images or pixels of one job; a simulation walks through every step
QUALITIES = ("exact", "balanced", "fast")


@dataclass(frozen=True, slots=True)
class SimJob:
    """A job as far as time goes; ``at`` is its arrival in seconds, sizes of 0 mean the profile's."""

    at: float
    steps: int = 25
    n: int = 1
    guidance_scale: float = 5.0
    sampler: str = "dpmpp_2m"
    quality: str = "balanced"
    priority: int = 5
    width: int = 0
    height: int = 0

    @property
    def rows(self) -> int:
        """UNet rows of one sample in a full step: guidance needs two."""
        return 2 if self.guidance_scale > 1.0 else 1


def parse_trace(lines: Iterable[str]) -> list[SimJob]:
    """Jobs of a JSONL trace, a job a line with its arrival ``at``, in seconds.

    Raises :class:`PolicyError` whose field is ``line N.field`` for wrong or unknown fields, times going backwards
    and an empty trace.
    """
    jobs: list[SimJob] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        job = _parse_line(line, f"line {number}")
        if jobs and job.at < jobs[-1].at:
            raise PolicyError(f"line {number}.at", f"goes backwards: {job.at:g} after {jobs[-1].at:g}")
        jobs.append(job)
    if not jobs:
        raise PolicyError("trace", "has no jobs")
    return jobs


def _parse_line(line: str, where: str) -> SimJob:
    given = {name: value for name, value in read.load_object(line, where).items() if value is not None}
    read.only(given, (*_READ, *_TIMELESS), ("at",), f"{where}.")
    kept: dict[str, Any] = {name: given[name] for name in _READ if name in given}
    read.number(kept["at"], f"{where}.at", at_least=0.0)
    for name, least in (("steps", 1), ("n", 1), ("priority", 0), ("width", 8), ("height", 8)):
        if name in kept:
            read.whole(kept[name], f"{where}.{name}", at_least=least, at_most=MOST)
    if "guidance_scale" in kept:
        read.number(kept["guidance_scale"], f"{where}.guidance_scale", at_least=0.0)
    if "sampler" in kept:
        read.text(kept["sampler"], f"{where}.sampler")
    if kept.get("quality", "exact") not in QUALITIES:
        raise PolicyError(f"{where}.quality", f"must be one of {', '.join(QUALITIES)}; got {kept['quality']!r:.40}")
    return SimJob(**kept)


def fit_to(jobs: Sequence[SimJob], width: int, height: int) -> None:
    """Refuse jobs of another size than the profile was measured at."""
    for index, job in enumerate(jobs, start=1):
        for name, wanted, got in (("width", width, job.width), ("height", height, job.height)):
            if got not in (0, wanted):
                raise PolicyError(f"job {index}.{name}", f"must be {wanted}, the profile's; got {got}")


@dataclass(frozen=True, slots=True)
class Mix:
    """What drawn jobs look like: their steps (drawn evenly), guidance and images."""

    steps: tuple[int, ...] = (25,)
    guidance_scale: float = 5.0
    n: int = 1

    def draw(self, at: float, source: random.Random) -> SimJob:
        """One job that arrives at ``at`` seconds."""
        return SimJob(at, steps=source.choice(self.steps), guidance_scale=self.guidance_scale, n=self.n)


def poisson(rate: float, count: int, mix: Mix, *, seed: int = 0) -> list[SimJob]:
    """``count`` jobs with exponential gaps, ``rate`` a second."""
    _check_rate(rate)
    jobs: list[SimJob] = []
    source, at = random.Random(seed), 0.0
    for _ in range(count):
        at += source.expovariate(rate)
        jobs.append(mix.draw(at, source))
    return jobs


def evenly(rate: float, count: int, mix: Mix, *, seed: int = 0) -> list[SimJob]:
    """``count`` jobs in equal gaps, ``rate`` a second."""
    _check_rate(rate)
    source = random.Random(seed)
    return [mix.draw(i / rate, source) for i in range(count)]


def at_once(count: int, mix: Mix, *, seed: int = 0) -> list[SimJob]:
    """``count`` jobs at time 0: closed saturation."""
    source = random.Random(seed)
    return [mix.draw(0.0, source) for _ in range(count)]


def burst(
    rate: float, mix: Mix, *, factor: float, start_s: float, length_s: float, end_s: float, seed: int = 0
) -> list[SimJob]:
    """Poisson arrivals at ``rate``, ``factor`` times that for ``length_s`` seconds from ``start_s`` on."""
    _check_rate(rate)
    jobs: list[SimJob] = []
    source, at = random.Random(seed), 0.0
    while True:
        inside = start_s <= at < start_s + length_s
        gap = source.expovariate(rate * factor if inside else rate)
        edge = start_s if at < start_s else start_s + length_s if inside else math.inf
        if at + gap > edge:  # the rate changes: draw again from there, as a Poisson process has no memory
            at = edge
            continue
        at += gap
        if at >= end_s:
            return jobs
        jobs.append(mix.draw(at, source))


def _check_rate(rate: float) -> None:
    if not (math.isfinite(rate) and rate > 0.0):
        raise PolicyError("rate", f"must be greater than 0; got {rate!r}")
