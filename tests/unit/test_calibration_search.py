"""Calibration's search: what its runs say about the boldest limits, with no model."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from synerdiff.engine.calibration_search import (
    RUNGS,
    SAMPLERS,
    SCALES,
    TARGETS,
    _bounds,
    calibration_scenarios,
    falling,
    middle,
)
from synerdiff.engine.fidelity_run import Scenario

TARGET = (0.98, 0.93)


@pytest.mark.parametrize(
    ("seen", "bounds"),
    [
        ({}, (-1, len(RUNGS))),
        ({7: [1.0, 0.97]}, (7, len(RUNGS))),
        ({7: [0.99, 0.92]}, (-1, 7)),
        ({7: [0.97, 0.97]}, (-1, 7)),
        ({3: [0.99, 0.98], 5: [0.99, 0.98], 11: [0.9, 0.8]}, (5, 11)),
        ({5: [1.0, 0.92], 7: [1.0, 0.98]}, (-1, 5)),
    ],
)
def test_the_runs_so_far_bound_the_boldest_rung(seen: dict[int, list[float]], bounds: tuple[int, int]) -> None:
    assert _bounds({rung: torch.tensor(values) for rung, values in seen.items()}, TARGET) == bounds


def test_what_the_stricter_class_ran_narrows_the_looser_one() -> None:
    seen = {7: torch.tensor([0.99, 0.94]), 3: torch.tensor([1.0, 0.98])}
    assert _bounds(seen, TARGETS["balanced"]) == (3, 7)
    assert _bounds(seen, TARGETS["fast"]) == (7, len(RUNGS))


def test_every_prompt_meets_several_scales_and_all_samplers_at_each_number_of_steps() -> None:
    scenarios = calibration_scenarios()
    for steps, turns in Counter(scenario.steps for scenario in scenarios).items():
        here = [scenario for scenario in scenarios if scenario.steps == steps]
        assert len({scenario.scale(0) for scenario in here}) == min(turns, len(SCALES)) > 1
        assert {scenario.sampler for scenario in here} == set(SAMPLERS)
        assert len({scenario.seed for scenario in here}) == turns
        assert all(sorted(scenario.guidance) == sorted(SCALES) for scenario in here)


@pytest.mark.parametrize(
    ("found", "pooled"),
    [
        ([16.0, 2.0, 1.0, 0.5], [16.0, 2.0, 1.0, 0.5]),
        ([16.0, 2.0, 0.25, 1.0], [16.0, 2.0, 0.5, 0.5]),
        ([4.0, 1.0, 2.0, 4.0], [4.0, 2.0, 2.0, 2.0]),
        ([1.0, 4.0], [2.0, 2.0]),
        ([4.0, 0.0, 0.0], [4.0, 0.0, 0.0]),
    ],
)
def test_factors_that_rise_with_guidance_are_pooled(found: list[float], pooled: list[float]) -> None:
    assert falling(found) == pytest.approx(pooled)


def test_a_scale_where_nothing_keeps_the_target_never_skips() -> None:
    assert falling([4.0, 0.0, 1.0])[1] == 0.0


def test_predictors_are_compared_where_steps_are_skipped() -> None:
    assert middle(calibration_scenarios()).steps == 20
    assert middle([Scenario("ddim", 9, (3.0,))]).steps == 9
