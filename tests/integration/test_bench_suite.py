"""The bench with the real model: every policy makes every image, and its figures add up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from synerdiff.bench import report
from synerdiff.bench.suite import POLICIES, Settings, Suite
from synerdiff.bench.workload import make_trace, read_trace
from synerdiff.engine.model import load_model, shipped_path
from synerdiff.policy.shipped import shipped_profile
from synerdiff.protocol import Limits


@pytest.fixture(scope="module")
def document() -> dict[str, object]:
    torch.set_num_threads(1)
    model = load_model(None)
    lines = [json.dumps({**line, "steps": 2 + index % 2}) for index, line in enumerate(drawn())]
    trace = read_trace(lines, limits=Limits(), entry=model.entry)
    settings = Settings(POLICIES, rounds=1, threads=1, capacity=4, closed=True)
    suite = Suite(model, shipped_path(), shipped_profile("cpu-tiny-emoji-128"), trace, settings)
    return suite.rounds(lambda *_: None)


def drawn() -> list[dict[str, object]]:
    return make_trace("uniform", 3, rate=None, seed=3)


def policies(document: dict[str, object]) -> dict[str, dict[str, object]]:
    found = document["policies"]
    assert isinstance(found, list)
    return {item["policy"]: item for item in found}


def test_every_policy_is_measured(document: dict[str, object]) -> None:
    assert tuple(policies(document)) == POLICIES
    wanted = {"images_per_s", "e2e_s", "vae_s", "rows_run", "rows_skipped", "cpu_s_per_image", "mean_rows_per_call"}
    for item in policies(document).values():
        assert wanted | {"ceiling_share", "ssim", "failed"} <= set(item)


def test_the_pace_of_the_machine_is_taken_at_each_run_and_at_the_tuning(document: dict[str, object]) -> None:
    assert document["static"]["pace_s"] > 0  # type: ignore[index]
    assert all(item["pace_s"] > 0 for item in policies(document).values())  # type: ignore[operator]


def test_exact_policies_run_every_row_and_make_the_same_images(document: dict[str, object]) -> None:
    rows = sum(2 * (2 + index % 2) for index in range(3))
    for name in ("diffusers", "static", "continuous", "continuous-naive", "synerdiff-exact"):
        item = policies(document)[name]
        assert (item["rows_run"], item["rows_skipped"], item["failed"]) == (rows, 0, False)


def test_rows_skipped_are_rows_not_run(document: dict[str, object]) -> None:
    full = policies(document)["continuous"]["rows_run"]
    for name in ("synerdiff", "synerdiff-fast"):
        item = policies(document)[name]
        assert item["rows_run"] + item["rows_skipped"] == full  # type: ignore[operator]


def test_continuous_batches_jobs_that_the_pipeline_cannot(document: dict[str, object]) -> None:
    found = policies(document)
    assert found["continuous"]["mean_rows_per_call"] > found["diffusers"]["mean_rows_per_call"]  # type: ignore[operator]


def test_the_report_has_a_row_a_policy_and_a_plot(document: dict[str, object], tmp_path: Path) -> None:
    assert report.markdown(document).count("\n") == 2 + len(POLICIES)
    report.plot(document, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
