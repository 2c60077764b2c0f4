"""The whole bench of this machine, restartable, and docs/results.md from its figures.

    python -m benchmarks.results --out DIR --minutes 35          # measure what fits, then write docs/results.md
    python -m benchmarks.results --out DIR --minutes 20 --only mixed,uniform,open-0.9
    python -m benchmarks.results --out DIR --write               # only write docs/results.md again

Every section is one interleaved run of its policies and one JSON file in DIR; a section whose file is there is not run
again, so an interrupted run goes on where it was. The first three sections are the essential ones; a later one only
starts if the time it should take still fits into ``--minutes``. The traces are drawn with a fixed seed and kept beside
the figures. Nothing else may run on the machine meanwhile: a busy neighbour distorts every wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.results_page import write_page
from synerdiff.bench.suite import POLICIES, Settings, Suite
from synerdiff.bench.variants import ABLATION
from synerdiff.bench.workload import load_trace, make_trace, write_trace
from synerdiff.engine.model import LoadedModel, load_model, shipped_path
from synerdiff.engine.profiler import profile_of
from synerdiff.policy.profile import Profile, parse_profile, profile_document
from synerdiff.protocol import Limits

SEED = 20
SERVED = tuple(name for name in POLICIES if name != "continuous-naive")
ABLATED = ("diffusers", *ABLATION)


@dataclass(frozen=True, slots=True)
class Section:
    """One run: ``load`` is the arrival rate as a share of static's capacity (None: saturation), ``jobs`` at scale 1.

    ``open_s`` sizes an open-loop trace by its length in seconds instead.
    """

    name: str
    kind: str
    policies: tuple[str, ...] = POLICIES
    jobs: int = 0
    load: float | None = None
    open_s: float = 0.0
    burst: float = 1.0
    rounds: int = 3


SECTIONS = (
    Section("mixed", "mixed", jobs=96),
    Section("uniform", "uniform", jobs=64),
    Section("open-0.9", "mixed", SERVED, load=0.9, open_s=40.0),
    Section("open-0.5", "mixed", SERVED, load=0.5, open_s=30.0),
    Section("ablation", "mixed", ABLATED, jobs=48),
    Section("few", "few", SERVED, jobs=96),
    Section("open-0.7", "mixed", SERVED, load=0.7, open_s=30.0),
    Section("open-1.1", "mixed", SERVED, load=1.1, open_s=30.0),
    Section("bursts", "mixed", SERVED, load=0.5, open_s=40.0, burst=4.0),
    Section("ablation-open", "mixed", ABLATED, load=0.9, open_s=25.0),
)


class Bench:
    """The model, its profile and the folder of one set of figures."""

    def __init__(self, out: Path, threads: int, scale: float, rounds: int | None) -> None:
        self.out, self.threads, self.scale, self.rounds = out, threads, scale, rounds
        self.begun = time.monotonic()
        out.mkdir(parents=True, exist_ok=True)
        self.path = shipped_path()
        self.model: LoadedModel = load_model(self.path, threads=threads)
        self.profile = self._profile()

    @property
    def minutes(self) -> float:
        """Minutes since the start."""
        return (time.monotonic() - self.begun) / 60

    def file(self, name: str) -> Path:
        """Where a section's figures are."""
        return self.out / f"{name}.json"

    def figures(self, name: str) -> dict[str, Any] | None:
        """A section's figures, once it was run."""
        path = self.file(name)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def run(self, section: Section) -> None:
        """Measure one section and keep its figures."""
        rate = self._rate(section)
        jobs = round(section.open_s * rate) if rate and section.open_s else section.jobs
        jobs = max(6, round(jobs * self.scale))
        trace = self.out / f"{section.name}.trace.jsonl"
        write_trace(trace, make_trace(section.kind, jobs, rate=rate, seed=SEED, burst=section.burst))  # type: ignore[arg-type]
        settings = Settings(section.policies, self.rounds or section.rounds, self.threads, closed=rate is None)
        arrivals = load_trace(trace, limits=Limits(), entry=self.model.entry)
        suite = Suite(self.model, self.path, self.profile, arrivals, settings)
        document = suite.rounds(lambda name, done, total: print(f"  {self.minutes:5.1f} min  {done}/{total}  {name}"))
        document |= {"section": section.name, "kind": section.kind, "rate": rate, "load": section.load}
        document |= {"burst": section.burst, "load_after": os.getloadavg()[0], "minutes": self.minutes}
        self.file(section.name).write_text(json.dumps(document, indent=1), encoding="utf-8")

    def expected_minutes(self, section: Section) -> float:
        """What a section should take, from the rates that the mixed section found."""
        mixed = self.figures("mixed")
        rates = {} if mixed is None else {item["policy"]: item["images_per_s"] for item in mixed["policies"]}
        if not rates:
            return 0.0
        rate = self._rate(section)
        jobs = section.jobs if rate is None else section.open_s * rate
        slowest = min(rates.values())
        seconds = sum(
            max(jobs / rates.get(name, slowest), section.open_s if rate else 0.0) for name in section.policies
        )
        return section.rounds * seconds * self.scale / 60 + 0.3

    def _rate(self, section: Section) -> float | None:
        """Arrivals a second: the load times what static reached on the same kind of jobs at saturation."""
        if section.load is None:
            return None
        mixed = self.figures("mixed")
        if mixed is None:
            raise SystemExit(f"{section.name} needs the figures of mixed: run that section first")
        static = next(item for item in mixed["policies"] if item["policy"] == "static")
        return float(section.load * static["images_per_s"])

    def _profile(self) -> Profile:
        kept = self.out / "profile.json"
        if kept.exists():
            return parse_profile(kept.read_text(encoding="utf-8"))
        entry = self.model.entry
        size = (entry.default_width, entry.default_height)
        profile = profile_of(self.model, *size, cache_dir=self.out / "cache", threads=self.threads, repeats=4)
        kept.write_text(profile_document(profile), encoding="utf-8")
        return profile


def measure(bench: Bench, sections: Sequence[Section], minutes: float, say: Callable[[str], None]) -> None:
    """Run what is not there yet and still fits."""
    for section in sections:
        if bench.file(section.name).exists():
            say(f"{section.name}: there already")
            continue
        left, needed = minutes - bench.minutes, bench.expected_minutes(section)
        if section not in SECTIONS[:3] and needed > left:
            say(f"{section.name}: left out, {needed:.1f} of {left:.1f} minutes left")
            continue
        say(f"{section.name}: about {needed:.1f} minutes" if needed else f"{section.name}:")
        bench.run(section)


def main() -> None:
    """Read the options, measure, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    parser.add_argument("--page", type=Path, default=Path("docs/results.md"))
    parser.add_argument("--minutes", type=float, default=35.0)
    parser.add_argument("--only", help="sections, comma-separated")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1.0, help="more or fewer jobs than usual")
    parser.add_argument("--rounds", type=int, help="rounds of every section")
    parser.add_argument("--note", default="", help="a sentence to print above the figures")
    parser.add_argument("--write", action="store_true", help="measure nothing")
    options = parser.parse_args()
    wanted = options.only.split(",") if options.only else [section.name for section in SECTIONS]
    if not options.write:
        bench = Bench(options.out, options.threads, options.scale, options.rounds)
        sections = [section for section in SECTIONS if section.name in wanted]
        measure(bench, sections, options.minutes, lambda line: print(line, flush=True))
    write_page(options.out, options.page, [section.name for section in SECTIONS], options.note)


if __name__ == "__main__":
    main()
