"""Who chooses theta: capacity, latency, recovery from a burst, steadiness."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from benchmarks.policy.study import Study, Table
from synerdiff.policy import Profile
from synerdiff.policy.planner import Ratings
from synerdiff.policy.shipped import shipped_profile
from synerdiff.policy.simulator import Outcome, Scenario, SimJob, burst, evenly, simulate, summary
from synerdiff.policy.steering import ThetaMode, default_mode


def recovery_s(found: Outcome, jobs: Sequence[SimJob], start_s: float, end_s: float) -> float:
    """Seconds from the burst's end until no more jobs are in the system than on average before it."""
    arrived = np.array([job.at for job in jobs])
    ended = np.array(found.finished_at)

    def in_system(at: float) -> int:
        return int(((arrived <= at) & (ended > at)).sum())

    usual = float(np.mean([in_system(at) for at in np.arange(start_s / 4, start_s, 1.0)]))
    return next((t - end_s for t in np.arange(end_s, end_s + 400.0, 0.5) if in_system(t) <= usual), float("inf"))


def arithmetic_s(jobs: Sequence[SimJob], capacity: float, start_s: float, end_s: float, steps: int) -> float:
    """The recovery of a device that works at ``capacity`` (images a second) from the burst's first moment on: seconds
    from the burst's end until it has done what arrived. No policy beats it without a higher capacity."""
    at = np.array([job.at for job in jobs])
    done = np.cumsum([job.n * job.steps / steps for job in jobs])
    before = float(done[at < start_s][-1])
    for t in np.arange(end_s, end_s + 400.0, 0.5):
        if float(done[at < t][-1]) - before <= capacity * (t - start_s):
            return float(t - end_s)
    return float("inf")


def variation_a_minute(found: Outcome) -> float:
    """Total variation of y a minute, after 120 s."""
    ys = [y for at, y, _ in found.control if at > 120.0]
    return sum(abs(after - before) for before, after in pairwise(ys)) / max(len(ys) / 60.0, 1e-9)


def controller_table(study: Study, name: str) -> Table:
    """Ways of choosing theta: capacity, means, light-load VAE latency, burst recovery, steadiness."""
    profile = shipped_profile(name)
    ratings = study.planner.ratings(profile)
    low, high = ratings.curve.band
    modes: dict[str, ThetaMode] = {"theta: auto": "auto", "controller": "controller", "queue length": "queue"}
    modes |= {f"theta {theta:.3f}": float(theta) for theta in sorted({low, (low + high) / 2, high})}
    rows = [
        [
            "theta chosen by",
            "capacity",
            "mean .5",
            "mean .9",
            "VAE, light",
            "burst (arithmetic)",
            "burst, skipping (arithmetic)",
            "variation of y",
        ]
    ]
    for label, mode in modes.items():
        chosen = " (default)" if mode == default_mode(ratings) else ""
        rows.append([label + chosen, *_controller_row(study, profile, ratings, mode)])
    return rows


def _controller_row(study: Study, profile: Profile, ratings: Ratings, mode: ThetaMode) -> list[str]:
    scenario, policy = Scenario(profile, theta=mode), "synerdiff-exact"
    best = ratings.curve.best_rate
    capacity = study.capacity(policy, profile, scenario)
    means = [study.mean(policy, profile, load, scenario) for load in (0.5, 0.9)]
    light = simulate(policy, study.arrivals(profile, 0.15), scenario, study.planner)
    vae = summary(light.vae_s)["mean"] / ratings.cost.decode_s
    rate, mix = 0.4 * best, study.mix(profile)
    jobs = burst(rate, mix, factor=5.0, start_s=200.0, length_s=30.0, end_s=500.0, seed=study.seed)
    bursts = []
    for name in (policy, "synerdiff"):
        found = recovery_s(simulate(name, jobs, scenario, study.planner), jobs, 200.0, 230.0)
        bare = arithmetic_s(jobs, best * study.capacity(name, profile, scenario), 200.0, 230.0, profile.steps)
        bursts.append(f"{found:.0f} ({bare:.0f}) s")
    steady = evenly(2 * rate, int(600 * 2 * rate), mix)
    variation = variation_a_minute(simulate(policy, steady, scenario, study.planner))
    return [
        f"{capacity:.3f}",
        *(f"{mean:.2f} s" for mean in means),
        f"{vae:.2f}",
        *bursts,
        f"{variation:.1f}",
    ]
