"""Predicted against reported slot times."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

import pytest

from synerdiff.scheduler.drift import Drift


def drift_of(ratios: Iterable[float], drift: Drift | None = None) -> Drift:
    """Ticks of one worker whose slots took these multiples of what was predicted."""
    drift = drift or Drift()
    predicted = measured = 0.0
    for ratio in (1.0, *ratios):
        predicted, measured = predicted + 0.8, measured + 0.8 * ratio
        drift.take({"w1": {"predicted_total_s": predicted, "measured_total_s": measured}})
    return drift


@pytest.mark.parametrize(("factor", "parted"), [(1.0, False), (1.2, False), (1.5, True), (0.6, True)])
def test_past_a_quarter_a_new_profile_is_asked_for(factor: float, parted: bool) -> None:
    drift = drift_of([factor] * 60)
    assert drift.ratio == pytest.approx(factor, rel=1e-2)
    assert drift.parted is parted


def test_a_few_ticks_are_no_evidence() -> None:
    drift = drift_of([9.0] * 10)
    assert not drift.parted
    assert drift.ratio == 1.0


def test_the_same_report_counts_once() -> None:
    drift = drift_of([9.0])
    for _ in range(100):
        drift.take({"w1": {"predicted_total_s": 1.6, "measured_total_s": 8.0}})
    assert not drift.parted


def test_an_engine_that_starts_again_counts_from_nothing() -> None:
    drift = drift_of([1.0] * 40)
    drift_of([1.0] * 40, drift)
    assert drift.ratio == pytest.approx(1.0)


def test_noise_of_a_shared_machine_neither_raises_it_nor_makes_it_chatter() -> None:
    source = random.Random(3)
    noisy = [math.exp(source.gauss(0.0, 0.35)) * (8.0 if source.random() < 0.05 else 1.0) for _ in range(2000)]
    drift, changes, before = Drift(), 0, False
    predicted = measured = 0.0
    for ratio in noisy:
        predicted, measured = predicted + 0.8, measured + 0.8 * ratio
        drift.take({"w1": {"predicted_total_s": predicted, "measured_total_s": measured}})
        changes, before = changes + (drift.parted != before), drift.parted
    assert changes == 0


def test_it_stays_raised_until_the_profile_fits_again() -> None:
    drift = drift_of([1.6] * 60)
    assert drift.parted
    drift_of([1.22] * 60, drift)
    assert drift.parted
    drift_of([1.05] * 60, drift)
    assert not drift.parted


def test_nonsense_and_workers_that_left_are_left_out() -> None:
    drift = Drift()
    for number in range(60):
        drift.take({"w1": {"predicted_total_s": float("nan"), "measured_total_s": float(number)}, "w2": {}})
    drift.take({})
    assert not drift.parted
