"""What a worker counts of the engine's events."""

from __future__ import annotations

import math

import pytest

from synerdiff.engine.types import SlotReport
from synerdiff.ledger import WorkerReport
from synerdiff.workers.metrics import WorkerMetrics, kind_of


def slot(rows: int, chunks: int, skipped: int = 0, **fields: float) -> SlotReport:
    times = {"predicted_s": 0.0, "measured_s": 0.1, "unet_s": 0.08, "vae_s": 0.02, **fields}
    return SlotReport(rows=rows, chunks=chunks, active=rows, waiting=chunks, skipped=skipped, splits=1, **times)


def value(metrics: WorkerMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


@pytest.mark.parametrize(("rows", "chunks", "kind"), [(2, 0, "unet"), (0, 3, "vae"), (2, 3, "both"), (0, 0, None)])
def test_a_slot_is_named_after_what_ran(rows: int, chunks: int, kind: str | None) -> None:
    assert kind_of(rows, chunks) == kind


def test_rows_slots_and_times_add_up() -> None:
    metrics = WorkerMetrics()
    for each in (slot(6, 0, skipped=2), slot(2, 4, predicted_s=0.09), slot(0, 4), slot(0, 0)):
        metrics.take(each)
    assert value(metrics, "synerdiff_unet_rows_run_total") == 8
    assert value(metrics, "synerdiff_unet_rows_skipped_total") == 2
    assert value(metrics, "synerdiff_unet_skip_share_ratio") == pytest.approx(0.2)
    assert [value(metrics, "synerdiff_slots_total", kind=kind) for kind in ("unet", "vae", "both")] == [1, 1, 1]
    assert value(metrics, "synerdiff_oom_splits_total") == 4
    assert value(metrics, "synerdiff_slot_predicted_seconds_total") == pytest.approx(0.09)
    assert value(metrics, "synerdiff_slot_judged_seconds_total") == pytest.approx(0.1)


def test_a_plan_without_threshold_has_no_theta() -> None:
    metrics = WorkerMetrics()
    metrics.plan(WorkerReport(name="w", pool="m", capacity=1, plan_source="planned", plan_theta="0.95"))
    assert value(metrics, "synerdiff_theta_ratio") == 0.95
    assert value(metrics, "synerdiff_plan_source", source="planned") == 1
    metrics.plan(WorkerReport(name="w", pool="m", capacity=1, plan_source="default", plan_theta="auto"))
    assert math.isnan(value(metrics, "synerdiff_theta_ratio") or 0.0)
    assert value(metrics, "synerdiff_plan_source", source="planned") == 0


def test_a_job_that_goes_back_is_a_rerun() -> None:
    metrics = WorkerMetrics()
    for state in ("handed_back", "crashed", "succeeded", "lost"):
        metrics.left("m", state)
    assert value(metrics, "synerdiff_reruns_total", pool="m", reason="engine_lost") == 1
    assert value(metrics, "synerdiff_reruns_total", pool="m", reason="handed_back") == 1
    assert value(metrics, "synerdiff_leases_lost_total", reason="lost") == 1
