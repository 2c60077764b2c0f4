"""The controller in the simulator, by design.md's definitions: capacity, no oscillation, light-load VAE latency."""

from __future__ import annotations

from itertools import pairwise

import pytest

from synerdiff.policy.planner import Planner
from synerdiff.policy.shipped import shipped_profile
from synerdiff.policy.simulator import Mix, Outcome, Scenario, at_once, evenly, poisson, simulate, summary
from synerdiff.policy.steering import ThetaMode

GPUS = ("h100-sdxl-1024", "h100-sdxl-lcm-1024")
PLANNER = Planner()


def mix_of(name: str) -> Mix:
    profile = shipped_profile(name)
    return Mix((profile.steps,), guidance_scale=5.0 if profile.rows_per_sample == 2 else 1.0)


def best_rate(name: str) -> float:
    return PLANNER.ratings(shipped_profile(name)).curve.best_rate


def variation(found: Outcome, after_s: float = 120.0) -> float:
    ys = [y for at, y, _ in found.control if at > after_s]
    return sum(abs(after - before) for before, after in pairwise(ys)) / (len(ys) / 60.0)


@pytest.mark.parametrize("name", GPUS)
@pytest.mark.parametrize("load", [0.5, 0.8])
def test_no_oscillation_under_even_arrivals(name: str, load: float) -> None:
    rate = load * best_rate(name)
    jobs = evenly(rate, int(400 * rate), mix_of(name))
    found = simulate("synerdiff", jobs, Scenario(shipped_profile(name), theta="controller"), PLANNER)
    assert variation(found) <= 2.0


@pytest.mark.parametrize("name", GPUS)
def test_closing_the_loop_adds_little_variation(name: str) -> None:
    """Under Poisson arrivals y moves with the load; acting on it may add a fifth, over watching a fixed theta."""
    jobs = poisson(0.7 * best_rate(name), 600, mix_of(name), seed=9)
    profile = shipped_profile(name)
    low, _ = PLANNER.ratings(profile).curve.band
    closed = simulate("synerdiff-exact", jobs, Scenario(profile, theta="controller"), PLANNER)
    opened = simulate("synerdiff-exact", jobs, Scenario(profile, theta=low), PLANNER)
    assert variation(closed, 10.0) <= 1.2 * variation(opened, 10.0)


@pytest.mark.parametrize("name", GPUS)
def test_the_controller_sustains_what_the_best_fixed_theta_does(name: str) -> None:
    profile, jobs = shipped_profile(name), at_once(400, mix_of(name))
    high = PLANNER.ratings(profile).curve.band[1]
    modes: tuple[ThetaMode, ...] = ("controller", high)
    rates = [simulate("synerdiff-exact", jobs, Scenario(profile, theta=theta), PLANNER).images_per_s for theta in modes]
    assert rates[0] >= 0.98 * rates[1]


@pytest.mark.parametrize("name", GPUS)
@pytest.mark.parametrize("theta", ["auto", "controller"])
def test_light_load_decodes_about_as_soon_as_the_lowest_theta(name: str, theta: ThetaMode) -> None:
    profile = shipped_profile(name)
    jobs = poisson(0.15 * best_rate(name), 300, mix_of(name), seed=1)
    low = PLANNER.ratings(profile).curve.band[0]
    modes: tuple[ThetaMode, ...] = (theta, low)
    latency = [
        summary(simulate("synerdiff-exact", jobs, Scenario(profile, theta=mode), PLANNER).vae_s)["mean"]
        for mode in modes
    ]
    assert latency[0] <= 1.05 * latency[1]
