"""The controller's law: filter, dead band, theta in its band, the skip threshold."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synerdiff.policy import PolicyError
from synerdiff.policy.controller import ControllerConfig, ControllerState, pressure, theta_in, update
from synerdiff.policy.planner import Planner
from synerdiff.policy.shipped import shipped_profile
from synerdiff.policy.steering import Load, Steering, default_mode, outstanding_jobs

LAW = ControllerConfig()
RATINGS = Planner(max_active=8, max_waiting=8).ratings(shipped_profile("h100-sdxl-lcm-1024"))


def run(loads: list[float], config: ControllerConfig = LAW) -> list[float]:
    state, found = ControllerState(), []
    for load in loads:
        state = update(state, load, 1.0, config)
        found.append(state.y)
    return found


@pytest.mark.parametrize(("load", "y"), [(0.0, 0.0), (0.75, 0.0), (1.875, 0.5), (3.0, 1.0), (50.0, 1.0)])
def test_pressure_between_its_ends(load: float, y: float) -> None:
    assert pressure(load, LAW) == pytest.approx(y)


def test_a_step_is_followed_within_seconds_and_released_again() -> None:
    found = run([10.0] * 15 + [0.0] * 15)
    assert found[0] < 0.5
    assert found[14] == 1.0
    assert found[-1] == 0.0


def test_small_moves_stay_inside_the_dead_band() -> None:
    settled = run([1.875] * 60 + [1.875 + 0.1 * (-1) ** i for i in range(60)])
    assert sum(abs(after - before) for before, after in pairwise(settled[60:])) == 0.0


@given(st.lists(st.floats(0.0, 100.0), max_size=50))
def test_y_stays_in_range_and_theta_in_its_band(loads: list[float]) -> None:
    for y in run(loads):
        assert 0.0 <= y <= 1.0
        assert 0.8 <= theta_in((0.8, 1.0), y) <= 1.0


@pytest.mark.parametrize("wrong", [{"lo": 2.0, "hi": 1.0}, {"lo": -1.0}, {"dead_band": 1.0}, {"filter_s": -1.0}])
def test_wrong_constants_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(PolicyError):
        ControllerConfig(**wrong)


def test_outstanding_work_in_lone_jobs() -> None:
    steps = RATINGS.cost.profile.steps
    one = Load(waiting_jobs=1, running_jobs=0, open_steps=steps, open_images=1, devices=1)
    assert 0.5 < outstanding_jobs(one, RATINGS) <= 1.0
    running = Load(waiting_jobs=0, running_jobs=1, open_steps=steps, open_images=1, devices=1)
    assert outstanding_jobs(running, RATINGS) == pytest.approx(outstanding_jobs(one, RATINGS) / 2)
    assert outstanding_jobs(Load(0, 0, 0.0, 0.0, 3), RATINGS) == 0.0


def test_each_way_of_choosing_theta() -> None:
    idle, busy = Load(0, 1, 4.0, 1.0, 1), Load(90, 9, 400.0, 99.0, 1)
    low, high = RATINGS.curve.band
    assert Steering(RATINGS, "auto").tick(busy, 1.0).theta is None
    assert Steering(RATINGS, 0.9).tick(busy, 1.0).theta == 0.9
    queue = Steering(RATINGS, "queue")
    assert (queue.tick(idle, 1.0).theta, queue.tick(busy, 1.0).theta) == (low, high)
    controller = Steering(RATINGS, "controller")
    assert controller.tick(idle, 1.0).theta == low
    assert [controller.tick(busy, 1.0).theta for _ in range(20)][-1] == high
    with pytest.raises(PolicyError):
        Steering(RATINGS, "often")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("h100-sdxl-1024", "controller"),
        ("a100-sd15-512", "controller"),
        ("h100-sdxl-lcm-1024", "auto"),
        ("cpu-tiny-emoji-128", "auto"),
    ],
)
def test_the_default_is_what_wins_for_the_profile(name: str, mode: str) -> None:
    ratings = Planner().ratings(shipped_profile(name))
    assert Steering(ratings).mode == mode == default_mode(ratings)
