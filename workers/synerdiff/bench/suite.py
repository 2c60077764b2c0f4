"""The whole bench: every policy over one trace, rounds interleaved, on one loaded model."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from synerdiff.bench import report
from synerdiff.bench.ceiling import Ceiling
from synerdiff.bench.continuous import run_engine
from synerdiff.bench.outcome import Run
from synerdiff.bench.pace import Pace
from synerdiff.bench.pipeline import Batching, Pipeline, run_static
from synerdiff.bench.plans import naive_plan
from synerdiff.bench.steering import Scheduler
from synerdiff.bench.tune import BatchTime, best_batching, measure
from synerdiff.bench.variants import ABLATION, Variant, with_threshold, without_chunks
from synerdiff.bench.variants import POLICIES as ENGINE_POLICIES
from synerdiff.bench.workload import Arrival
from synerdiff.engine.config import EngineConfig
from synerdiff.engine.denoise import own_shape
from synerdiff.engine.engine import Engine
from synerdiff.engine.model import LoadedModel
from synerdiff.engine.precision import dtype_name
from synerdiff.engine.profiler import apply_setup, setup_of
from synerdiff.policy.plan import PlanView, default_plan
from synerdiff.policy.planner import Planner
from synerdiff.policy.profile import Profile
from synerdiff.protocol.errors import TraceError

POLICIES = ("diffusers", "static", *ENGINE_POLICIES)
VARIANTS = {**ABLATION, **ENGINE_POLICIES}

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """How to run: policies, rounds, threads, images in flight, and whether all arrivals are at 0 (``closed``).

    The policies in ``once`` run in the first round alone.
    """

    policies: tuple[str, ...] = POLICIES
    rounds: int = 3
    threads: int = 2
    capacity: int = 24
    closed: bool = False
    once: tuple[str, ...] = ()


def check_policies(names: Sequence[str]) -> tuple[str, ...]:
    """Refuse a policy nobody knows; ``diffusers`` is always run, for its images are the reference.

    Besides the policies it takes the ablation's variants by name.
    """
    known = (*POLICIES, *(name for name in ABLATION if name not in POLICIES))
    for name in names:
        if name not in known:
            raise TraceError(f"policies must be some of {', '.join(known)}; got {name!r}", field="policies")
    return tuple(name for name in known if name in names or name == "diffusers")


class Suite:
    """Runs policies on one model; the static baseline is tuned for the trace when this is made."""

    def __init__(
        self, model: LoadedModel, path: Path, profile: Profile, trace: Sequence[Arrival], settings: Settings
    ) -> None:
        apply_setup(model, replace(setup_of(profile), threads=settings.threads))
        self.model = model
        self.profile = profile
        self.settings = settings
        self.planner = Planner()
        self.trace = [replace(item, at=0.0) for item in trace] if settings.closed else list(trace)
        self.pipeline = Pipeline(model, path)
        self.pipeline.generate([replace(trace[0].request, steps=2)])
        self.batching = Batching()
        self.batch_times: dict[int, BatchTime] = {}
        self._pace = Pace(model)
        self.tuned_at_pace_s = self._pace.seconds()
        if "static" in settings.policies:
            self.batch_times = measure(self.pipeline, trace[0].request)
            self.batching = best_batching(self.trace, self.batch_times, closed=settings.closed)

    def run(self, policy: str) -> Run:
        """One run of one policy."""
        if policy == "diffusers":
            return run_static(policy, self.pipeline, self.trace, Batching())
        if policy == "static":
            return run_static(policy, self.pipeline, self.trace, self.batching)
        variant = VARIANTS[policy]
        engine, scheduler = self._engine(variant)
        try:
            return run_engine(policy, engine, self.trace, variant.quality, scheduler)
        finally:
            engine.close()

    def _engine(self, variant: Variant) -> tuple[Engine, Scheduler | None]:
        capacity = self.settings.capacity
        cap = variant.cap or self.batch_cap
        shape = partial(_shape, variant, cap)
        scheduler = Scheduler(self.profile, capacity, shape=shape, planner=self.planner)
        executor = variant.executor or self.profile.executor
        config = EngineConfig(capacity, executor=executor)  # type: ignore[arg-type]
        start = naive_plan(cap) if variant.naive else default_plan(cap)
        return Engine(self.model, config, start), scheduler if variant.planned else None

    @property
    def batch_cap(self) -> int:
        """The batch cap that the profile's plans have."""
        return self.planner.ratings(self.profile, self.settings.capacity).batch_cap

    def rounds(self, progress: Progress) -> dict[str, Any]:
        """Every policy in every round; returns the bench's JSON document."""
        runs: dict[str, list[Run]] = {name: [] for name in self.settings.policies}
        ceilings: dict[str, list[float]] = {name: [] for name in self.settings.policies}
        paces: dict[str, list[float]] = {name: [] for name in self.settings.policies}
        shape = own_shape(self.model)
        warm = Ceiling(self.model, _context(self.pipeline), "fast")
        warm.warm_up(2 * self.settings.capacity, shape.height, shape.width)
        once = [name for name in runs if name in self.settings.once]
        total = self.settings.rounds * len(runs) - (self.settings.rounds - 1) * len(once)
        for number in range(self.settings.rounds):
            for name in _turned(list(runs), number):
                if number and name in once:
                    continue
                progress(f"{name}, round {number + 1}", sum(map(len, runs.values())), total)
                before = self._pace.seconds()
                runs[name].append(self.run(name))
                paces[name].append((before + self._pace.seconds()) / 2)
                # Timed anew after each run, for the machine is not always alike.
                bare = Ceiling(self.model, _context(self.pipeline), _calls_of(name))
                ceilings[name].append(bare.seconds(runs[name][-1]))
        progress("done", total, total)
        reference = runs["diffusers"][-1]
        found = [
            report.figures(runs[n], ceilings[n], reference, _quality(n), dtype_name(self.model.dtype))
            | {"pace_s": median(paces[n])}
            for n in runs
        ]
        return self._document(found)

    def _document(self, found: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "machine": machine(),
            "model": self.model.name,
            "model_hash": self.model.model_hash,
            "dtype": dtype_name(self.model.dtype),
            "threads": self.settings.threads,
            "closed": self.settings.closed,
            "rounds": self.settings.rounds,
            "jobs": len(self.trace),
            "capacity": self.settings.capacity,
            "batch_cap": self.batch_cap,
            "static": {
                "cap": self.batching.cap,
                "window_s": self.batching.window_s,
                "pace_s": self.tuned_at_pace_s,
                "times": {str(cap): asdict(time) for cap, time in self.batch_times.items()},
            },
            "policies": found,
        }


def _turned(names: list[str], number: int) -> list[str]:
    """Another one begins each round, so that none is always behind the same neighbour."""
    first = number % len(names)
    return names[first:] + names[:first]


def _quality(policy: str) -> str:
    return VARIANTS[policy].quality if policy in VARIANTS else "exact"


def _calls_of(policy: str) -> str | None:
    """Whose calls a policy makes: the plain pipeline's (None), those for ``exact`` images, or those for all others."""
    if policy not in VARIANTS:
        return None
    return "exact" if VARIANTS[policy].quality == "exact" else "fast"


def _shape(variant: Variant, cap: int, view: PlanView) -> PlanView:
    """A scheduler's plan as the variant follows it."""
    if variant.cap is not None:
        view = PlanView(replace(view.plan, batch_cap=cap), view.table)
    if not variant.chunked:
        view = without_chunks(view)
    return view if variant.steered else with_threshold(view, cap // 2)


def _context(pipeline: Pipeline) -> tuple[int, int]:
    """Tokens and width of the text encoder's output."""
    embedding = pipeline.pipe.encode_prompt("a", pipeline.pipe.device, 1, False)[0]
    return int(embedding.shape[1]), int(embedding.shape[2])


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load_before": os.getloadavg()[0],
    }
