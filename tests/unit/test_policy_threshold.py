"""The throughput threshold: realised, monotone, inside its band."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from synerdiff.policy import PolicyError
from synerdiff.policy.planner import Planner, Ratings, rate
from synerdiff.policy.shipped import shipped_names, shipped_profile
from synerdiff.policy.simulator.timing import SlotTimes
from synerdiff.policy.table import Lanes, solve
from synerdiff.policy.threshold import best_seconds_per_image, sustained_rate

PLANNER = Planner(max_active=16, max_waiting=16)
RATINGS = {name: PLANNER.ratings(shipped_profile(name)) for name in shipped_names()}


def rate_with_random_finishes(ratings: Ratings, theta: float, calls: int = 3000) -> float:
    """Images a second of a full batch whose samples are at random steps, following theta's plan slot by slot."""
    view = PLANNER.plan(ratings, theta=theta, version=1, skip_above=0)
    profile, times, source = ratings.cost.profile, SlotTimes(ratings.cost), random.Random(1)
    steps_left = [source.randint(1, profile.steps) for _ in range(ratings.batch_cap)]
    rows, per_decode = ratings.batch_cap * profile.rows_per_sample, times.per_decode
    waiting, clock, images = 0, 0.0, 0
    for _ in range(calls):
        action = view.action(ratings.batch_cap, waiting)
        while not action.run_unet:
            clock += times.slot(0, action.granularity, -waiting % per_decode, action.chunks)
            waiting -= action.chunks
            action = view.action(ratings.batch_cap, waiting)
        clock += times.slot(rows, action.granularity, -waiting % per_decode, action.chunks)
        waiting -= action.chunks
        finished = steps_left.count(1)
        steps_left = [profile.steps if left == 1 else left - 1 for left in steps_left]
        waiting, images = waiting + finished * per_decode, images + finished
    return images / clock


@pytest.mark.parametrize("name", shipped_names())
def test_realised_theta_is_at_most_two_points_below_what_was_asked(name: str) -> None:
    ratings = RATINGS[name]
    low, high = ratings.curve.band
    for theta in np.linspace(low, high, 5):
        assert rate_with_random_finishes(ratings, float(theta)) / ratings.curve.best_rate >= theta - 0.02


@pytest.mark.parametrize("name", shipped_names())
def test_the_price_never_falls_as_theta_rises(name: str) -> None:
    curve = RATINGS[name].curve
    prices = [curve.price_for(float(theta)) for theta in np.linspace(0.01, max(curve.theta), 50)]
    assert prices == sorted(prices)
    assert prices[0] == 0.0
    assert prices[-1] <= 2 * RATINGS[name].batch_cap


@pytest.mark.parametrize("name", shipped_names())
def test_the_band_is_where_theta_matters(name: str) -> None:
    low, high = RATINGS[name].curve.band
    assert 0.5 < low <= high <= 1.0


def test_taking_turns_leaves_theta_nothing_to_choose() -> None:
    assert RATINGS["cpu-tiny-emoji-128"].curve.band == pytest.approx((1.0, 1.0), abs=1e-6)


def test_no_policy_beats_the_best_sustainable_rate() -> None:
    for ratings in RATINGS.values():
        cost, cap = ratings.cost, ratings.batch_cap
        prices = np.array([0.0, 0.5, 2.0, 8.0, 2.0 * cap])
        solved = solve(cost, Lanes(np.full(len(prices), cap), prices), 8)
        rates = sustained_rate(solved, cost.chunks_per_decode, cost.profile.steps)
        assert (rates <= 1.005 / best_seconds_per_image(cost, cap, cost.profile.steps)).all()


@pytest.mark.parametrize("steps", [1, 150, 1000])
def test_every_number_of_steps_has_a_band(steps: int) -> None:
    low, high = rate(replace(shipped_profile("h100-sdxl-1024"), steps=steps), None, 4).curve.band
    assert 0.0 < low <= high <= 1.0


@pytest.mark.parametrize("theta", [0.0, -1.0, 1.01, float("nan")])
def test_theta_outside_its_range_is_refused(theta: float) -> None:
    with pytest.raises(PolicyError) as raised:
        PLANNER.plan(RATINGS["h100-sdxl-1024"], theta=theta, version=1, skip_above=0)
    assert raised.value.field == "theta"


def test_tables_are_kept_by_what_they_depend_on() -> None:
    ratings = RATINGS["a100-sd15-512"]
    first = PLANNER.plan(ratings, theta=0.9, version=1, skip_above=0)
    again = PLANNER.plan(ratings, theta=0.9, version=2, skip_above=5)
    assert first.table is again.table
    assert PLANNER.plan(ratings, theta=None, version=3, skip_above=0).table is not first.table
