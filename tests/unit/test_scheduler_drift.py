"""Predicted against reported slot times."""

from __future__ import annotations

import pytest

from synerdiff.policy.cost import CostModel
from synerdiff.policy.shipped import shipped_profile
from synerdiff.scheduler.drift import Drift

COST = CostModel(shipped_profile("h100-sdxl-1024"))


def drift_of(*slots: dict[str, float]) -> Drift:
    drift = Drift(COST)
    for slot in slots:
        drift.take("w1", slot)
    return drift


@pytest.mark.parametrize(("factor", "parted"), [(1.0, False), (1.2, False), (1.5, True), (0.6, True)])
def test_past_a_quarter_a_new_profile_is_asked_for(factor: float, parted: bool) -> None:
    drift = drift_of(*({"predicted_s": 0.1, "measured_s": factor * 0.1 + i * 1e-9, "rows": 4} for i in range(20)))
    assert drift.ratio == pytest.approx(factor, rel=1e-3)
    assert drift.parted is parted


def test_a_few_slots_are_no_evidence() -> None:
    drift = drift_of(*({"predicted_s": 0.1, "measured_s": 0.9 + i, "rows": 4} for i in range(5)))
    assert not drift.parted
    assert drift.ratio == 1.0


def test_the_same_report_counts_once() -> None:
    assert not drift_of(*[{"predicted_s": 0.1, "measured_s": 0.9, "rows": 4}] * 50).parted


def test_without_a_prediction_a_lone_unet_call_is_judged_by_the_profile() -> None:
    measured = float(COST.unet(4)) * 2
    assert drift_of(*({"measured_s": measured + i * 1e-9, "rows": 4, "chunks": 0} for i in range(20))).parted
    assert not drift_of(*({"measured_s": measured + i * 1e-9, "rows": 4, "chunks": 3} for i in range(20))).parted


def test_nonsense_is_left_out() -> None:
    assert not drift_of(*({"predicted_s": float("nan"), "measured_s": float(i), "rows": 0} for i in range(20))).parted
