"""The whole bench of this machine, restartable, and docs/results.md from its figures.

    python -m benchmarks.results --out DIR --minutes 55          # measure what fits, then write docs/results.md
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
from benchmarks.simulated import BESIDE
from synerdiff.bench.suite import POLICIES, Settings, Suite
from synerdiff.bench.variants import ABLATION
from synerdiff.bench.workload import load_trace, make_trace, write_trace
from synerdiff.engine.model import LoadedModel, load_model, shipped_path
from synerdiff.engine.precision import has_bfloat16
from synerdiff.engine.profiler import profile_of
from synerdiff.policy.profile import Profile, parse_profile, profile_document
from synerdiff.protocol import Limits

SEED = 20
OVERHEAD_MINUTES = 0.7  # tuning the baseline and timing the ceilings
OPEN = ("diffusers", "static", "continuous", "synerdiff", "synerdiff-fast")
FEW = tuple(name for name in POLICIES if name != "continuous-naive")
ABLATED = ("diffusers", *ABLATION)
ONCE = ("diffusers",)


@dataclass(frozen=True, slots=True)
class Section:
    """One run: ``load`` is the arrival rate as a share of static's capacity (None: saturation), ``jobs`` at scale 1.

    ``once`` are policies that run in the first round alone: there ``diffusers`` gives little but the images that the
    others are compared with. ``dtype`` is the precision of all its policies.
    """

    name: str
    kind: str
    policies: tuple[str, ...] = POLICIES
    jobs: int = 0
    load: float | None = None
    burst: float = 1.0
    rounds: int = 3
    once: tuple[str, ...] = ()
    dtype: str = "auto"


# A queue forms slowly: at 0.9 of the capacity it takes well over a hundred jobs to show.
SECTIONS = (
    Section("mixed", "mixed", jobs=72),
    Section("uniform", "uniform", jobs=48, rounds=5),
    Section("open-0.9", "mixed", OPEN, jobs=150, load=0.9, once=ONCE),
    Section("ablation", "mixed", ABLATED, jobs=48, once=ONCE),
    Section("few", "few", FEW, jobs=96),
    Section("bfloat16", "mixed", OPEN, jobs=72, rounds=2, dtype="bfloat16"),
    Section("open-0.5", "mixed", OPEN, jobs=45, load=0.5, rounds=1),
    Section("open-0.7", "mixed", OPEN, jobs=65, load=0.7, rounds=1),
    Section("open-1.1", "mixed", OPEN, jobs=100, load=1.1, rounds=1),
    Section("bursts", "mixed", OPEN, jobs=80, load=0.5, burst=4.0, rounds=1),
    Section("ablation-open", "mixed", ABLATED, jobs=50, load=0.9, rounds=1),
)


class Bench:
    """The model and its profile, in each precision, and the folder of one set of figures."""

    def __init__(self, out: Path, threads: int, scale: float, rounds: int | None) -> None:
        self.out, self.threads, self.scale, self.rounds = out, threads, scale, rounds
        self.begun = time.monotonic()
        out.mkdir(parents=True, exist_ok=True)
        self.path = shipped_path()
        self._loaded: dict[str, tuple[LoadedModel, Profile]] = {}
        model, _ = self.loaded("auto")
        self._profile(model, BESIDE, "threads")

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

    def loaded(self, dtype: str) -> tuple[LoadedModel, Profile]:
        """The model in a precision, with its profile."""
        if dtype not in self._loaded:
            model = load_model(self.path, threads=self.threads, dtype=dtype)
            name = "profile.json" if dtype == "auto" else f"profile-{dtype}.json"
            self._loaded[dtype] = model, self._profile(model, name, "auto")
        return self._loaded[dtype]

    def run(self, section: Section) -> None:
        """Measure one section and keep its figures."""
        model, profile = self.loaded(section.dtype)
        rate = self._rate(section)
        jobs = max(6, round(section.jobs * self.scale))
        trace = self.out / f"{section.name}.trace.jsonl"
        write_trace(trace, make_trace(section.kind, jobs, rate=rate, seed=SEED, burst=section.burst))  # type: ignore[arg-type]
        rounds = self.rounds or section.rounds
        settings = Settings(section.policies, rounds, self.threads, closed=rate is None, once=section.once)
        arrivals = load_trace(trace, limits=Limits(), entry=model.entry)
        suite = Suite(model, self.path, profile, arrivals, settings)
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
        rate, rounds = self._rate(section), self.rounds or section.rounds
        seconds = 0.0
        for name in section.policies:
            pace = rates.get(name, rates["static" if name == "no-batching" else "synerdiff"])
            took = section.jobs * self.scale / (pace if rate is None else min(pace, rate))
            seconds += took * (1 if name in section.once else rounds)
        return seconds / 60 + OVERHEAD_MINUTES

    def _rate(self, section: Section) -> float | None:
        """Arrivals a second: the load times what static reached on the same kind of jobs at saturation."""
        if section.load is None:
            return None
        mixed = self.figures("mixed")
        if mixed is None:
            raise SystemExit(f"{section.name} needs the figures of mixed: run that section first")
        static = next(item for item in mixed["policies"] if item["policy"] == "static")
        return float(section.load * static["images_per_s"])

    def _profile(self, model: LoadedModel, name: str, executor: str) -> Profile:
        kept = self.out / name
        if kept.exists():
            return parse_profile(kept.read_text(encoding="utf-8"))
        entry = model.entry
        size = (entry.default_width, entry.default_height)
        cache = self.out / "cache"
        profile = profile_of(model, *size, cache_dir=cache, executor=executor, threads=self.threads, repeats=4)
        kept.write_text(profile_document(profile), encoding="utf-8")
        return profile


def measure(bench: Bench, sections: Sequence[Section], minutes: float, say: Callable[[str], None]) -> None:
    """Run what is not there yet and still fits."""
    for section in sections:
        if bench.file(section.name).exists():
            say(f"{section.name}: there already")
            continue
        if section.dtype == "bfloat16" and not has_bfloat16():
            say(f"{section.name}: left out, this CPU has no instructions for bfloat16")
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
    parser.add_argument("--minutes", type=float, default=55.0)
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
