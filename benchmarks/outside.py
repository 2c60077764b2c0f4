"""What the engine spends outside its UNet calls and decodes, in CPU milliseconds a slot.

python -m benchmarks.outside [--kind mixed|uniform] [--jobs 24] [--policy synerdiff] [--profile 30] [--ceiling]
[--measured PROFILE.json]

Every job is there at the start. CPU seconds of one thread, so a busy machine changes them little.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from synerdiff.bench.ceiling import Ceiling
from synerdiff.bench.continuous import run_engine
from synerdiff.bench.outcome import Run
from synerdiff.bench.steering import Scheduler
from synerdiff.bench.variants import POLICIES
from synerdiff.bench.workload import Arrival, make_trace, read_trace
from synerdiff.engine.config import EngineConfig
from synerdiff.engine.decode.chunked import ChunkedDecode
from synerdiff.engine.engine import Engine
from synerdiff.engine.model import LoadedModel, load_model
from synerdiff.engine.profiler import Setup, apply_setup
from synerdiff.policy.plan import default_plan
from synerdiff.policy.planner import Planner
from synerdiff.policy.profile import Profile, parse_profile
from synerdiff.policy.shipped import shipped_profile
from synerdiff.protocol import Limits

CAPACITY = 24
PROFILE = "cpu-tiny-emoji-128"
SEED = 1


@dataclass(slots=True)
class Spent:
    """CPU seconds inside calls of one kind, and how many there were."""

    seconds: float = 0.0
    calls: int = 0

    def timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, counted."""

        def counted(*args: Any, **options: Any) -> Any:
            began = time.thread_time()
            try:
                return call(*args, **options)
            finally:
                self.seconds += time.thread_time() - began
                self.calls += 1

        return counted


@contextmanager
def counting(model: LoadedModel) -> Iterator[tuple[Spent, Spent]]:
    """Count the model's UNet calls and all decode chunks inside the block."""
    unet, chunks = Spent(), Spent()
    called: Any = model.unet_in(model.dtype)
    forward, run = called.forward, ChunkedDecode.run
    called.forward, ChunkedDecode.run = unet.timed(forward), chunks.timed(run)  # type: ignore[method-assign]
    try:
        yield unet, chunks
    finally:
        called.forward, ChunkedDecode.run = forward, run  # type: ignore[method-assign]


def trace_of(kind: Any, jobs: int, model: LoadedModel) -> list[Arrival]:
    """Jobs that are all there at the start."""
    lines = [json.dumps(line) for line in make_trace(kind, jobs, rate=None, seed=SEED)]
    return read_trace(lines, limits=Limits(), entry=model.entry)


def run(model: LoadedModel, profile: Profile, policy: str, trace: list[Arrival], planner: Planner) -> Run:
    """One run of the engine, in turns, with the scheduler's plans."""
    scheduler = Scheduler(profile, CAPACITY, planner=planner)
    start = default_plan(scheduler.ratings.batch_cap)
    engine = Engine(model, EngineConfig(CAPACITY, executor="serial"), start)
    try:
        return run_engine(policy, engine, trace, POLICIES[policy].quality, scheduler)
    finally:
        engine.close()


def figures(policy: str, outcome: Run, unet: Spent, chunks: Spent) -> dict[str, Any]:
    """One line of output; ``outside_ms_per_slot`` is what this is about."""
    outside = outcome.cpu_s - unet.seconds - chunks.seconds
    return {
        "policy": policy,
        "images": outcome.images,
        "slots": unet.calls,
        "cpu_s": round(outcome.cpu_s, 3),
        "unet_s": round(unet.seconds, 3),
        "decode_s": round(chunks.seconds, 3),
        "outside_ms_per_slot": round(1000 * outside / unet.calls, 3),
        "outside_share": round(outside / outcome.cpu_s, 4),
        "rows_per_call": round(outcome.mean_rows_per_call, 2),
    }


def of_ceiling(model: LoadedModel, policy: str, outcome: Run) -> dict[str, float]:
    """The bench's ceiling in CPU seconds, and its share of the run's."""
    quality = "exact" if POLICIES[policy].quality == "exact" else "fast"
    config: Any = model.unet.config
    tokens = model.tokenizers[0].model_max_length
    bare = Ceiling(model, (tokens, config.cross_attention_dim), quality, clock=time.thread_time)
    for rows, height, width in outcome.calls:
        bare.warm_up(rows, height, width)
    seconds = bare.seconds(outcome)
    return {"ceiling_s": round(seconds, 3), "of_ceiling": round(seconds / outcome.cpu_s, 4)}


def main() -> None:
    """Print one JSON object for each policy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=("mixed", "uniform"), default="mixed")
    parser.add_argument("--jobs", type=int, default=24)
    parser.add_argument("--policy", nargs="*", default=["synerdiff-exact", "synerdiff", "synerdiff-fast"])
    parser.add_argument("--profile", type=int, default=0, help="show so many functions by their own time")
    parser.add_argument("--ceiling", action="store_true", help="time the bare calls as the bench does")
    parser.add_argument("--measured", type=Path, help="a profile of this machine, which plans follow")
    args = parser.parse_args()
    model = load_model(None, threads=1)
    measured = parse_profile(args.measured.read_text()) if args.measured else shipped_profile(PROFILE)
    apply_setup(model, Setup(1, "channels_last"))
    planner = Planner()
    run(model, measured, "synerdiff", trace_of(args.kind, args.jobs, model), planner)
    for policy in args.policy:
        trace = trace_of(args.kind, args.jobs, model)
        profile = cProfile.Profile(time.thread_time)
        with counting(model) as (unet, chunks):
            if args.profile:
                profile.enable()
            outcome = run(model, measured, policy, trace, planner)
            profile.disable()
        found = figures(policy, outcome, unet, chunks)
        if args.ceiling:
            found |= of_ceiling(model, policy, outcome)
        print(json.dumps(found), flush=True)
        if args.profile:
            pstats.Stats(profile).sort_stats("cumtime").print_stats("synerdiff|text_model|tokeniz", args.profile)


if __name__ == "__main__":
    main()
