"""Who chooses theta: capacity, latency, recovery from a burst, steadiness."""

from __future__ import annotations

from itertools import pairwise

from benchmarks.policy.bursts import BASE_LOAD, recoveries
from benchmarks.policy.study import Study, Table
from synerdiff.policy import Profile
from synerdiff.policy.planner import Ratings
from synerdiff.policy.shipped import shipped_profile
from synerdiff.policy.simulator import Outcome, Scenario, evenly, simulate, summary
from synerdiff.policy.steering import ThetaMode, default_mode


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
    bursts = [f"{took:.0f} ({bare:.0f}) s" for took, bare in recoveries(study, profile, scenario)]
    rate = 2 * BASE_LOAD * best
    steady = evenly(rate, int(600 * rate), study.mix(profile))
    variation = variation_a_minute(simulate(policy, steady, scenario, study.planner))
    return [
        f"{capacity:.3f}",
        *(f"{mean:.2f} s" for mean in means),
        f"{vae:.2f}",
        *bursts,
        f"{variation:.1f}",
    ]
