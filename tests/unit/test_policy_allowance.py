"""The skip allowance: when `balanced` skips, by profile, setting and load."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synerdiff.policy import PolicyError, Profile, default_plan
from synerdiff.policy.allowance import check_skip_from, idle_threshold, shortens, skip_threshold
from synerdiff.policy.cost import CostModel
from synerdiff.policy.planner import Planner
from synerdiff.policy.shipped import shipped_names, shipped_profile
from synerdiff.policy.steering import Load, Steering

SDXL = shipped_profile("h100-sdxl-1024")
IDLE, BUSY = Load(0, 1, 30.0, 1.0, 1), Load(90, 9, 2700.0, 99.0, 1)


def flat_until(rows: int) -> Profile:
    """A device whose calls take equally long up to so many rows, and in proportion to them beyond."""
    known = (1, 2, 4, 8, 16, 32)
    return replace(SDXL, rows=known, unet_s=tuple(0.01 * max(rows, count) for count in known), pairs=None)


@pytest.mark.parametrize("name", shipped_names())
def test_where_a_skipping_sample_makes_a_shorter_call_the_first_job_skips(name: str) -> None:
    ratings = Planner().ratings(shipped_profile(name))
    guided = ratings.cost.profile.rows_per_sample == 2
    assert shortens(ratings.cost, 1) == guided
    assert idle_threshold(ratings.cost, ratings.batch_cap) == (0 if guided else ratings.batch_cap // 2)
    assert idle_threshold(ratings.cost, ratings.batch_cap, "load") == ratings.batch_cap // 2


@pytest.mark.parametrize(("rows", "jobs"), [(1, 0), (2, 1), (4, 2), (8, 4), (32, 4)])
def test_a_device_that_small_calls_leave_idle_skips_from_where_it_pays(rows: int, jobs: int) -> None:
    assert idle_threshold(CostModel(flat_until(rows)), 8) == jobs


def test_less_than_the_profiles_spread_is_no_gain() -> None:
    cost = CostModel(replace(SDXL, rows=(1, 2), unet_s=(0.0999, 0.1), pairs=None))
    assert not shortens(cost, 1)


@given(idle=st.integers(0, 64), y=st.floats(0.0, 1.0))
def test_load_only_lowers_the_threshold(idle: int, y: float) -> None:
    assert 0 <= skip_threshold(idle, y) <= idle
    assert (skip_threshold(idle, 0.0), skip_threshold(idle, 1.0)) == (idle, 0)


def test_the_controller_moves_the_threshold_that_waits_for_load() -> None:
    ratings = Planner().ratings(SDXL)
    steering = Steering(ratings, skip_from="load")
    assert steering.tick(IDLE, 1.0).skip_above == ratings.batch_cap // 2
    assert [steering.tick(BUSY, 1.0).skip_above for _ in range(20)][-1] == 0
    assert Steering(ratings).tick(IDLE, 1.0).skip_above == 0


def test_the_built_in_plan_skips_from_the_first_job() -> None:
    assert default_plan(8).allows_skip("balanced", 1)
    assert not default_plan(8).allows_skip("exact", 1)
    assert not default_plan(8, skip_above=4).allows_skip("balanced", 4)


def test_another_word_is_refused() -> None:
    assert [check_skip_from(word) for word in ("start", "load")] == ["start", "load"]
    with pytest.raises(PolicyError, match="must be start or load; got 'never'"):
        check_skip_from("never")
