"""``synerdiff fidelity`` on the shipped model: its document, its floors on a few prompts, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from synerdiff.cli.main import app
from synerdiff.engine.calibration_search import calibrate
from synerdiff.engine.fidelity import Study, shipped_prompts
from synerdiff.engine.fidelity_criteria import adaptive, full_guidance, no_guidance
from synerdiff.engine.fidelity_linear import LinearAg
from synerdiff.engine.fidelity_run import Scenario, Studio
from synerdiff.engine.model import LoadedModel, load_model

PROMPTS = shipped_prompts("held_out")[:2]


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model(None, device="cpu", threads=1)


@pytest.fixture(scope="module")
def study(model: LoadedModel) -> Study:
    return Study(Studio(model, PROMPTS), [Scenario("ddim", 8, (3.0,), 1)])


def test_the_document_has_every_class_and_the_yardsticks(tmp_path: Path) -> None:
    prompts, output = tmp_path / "prompts.txt", tmp_path / "out.json"
    prompts.write_text("a red apple on a blue background\n\n", encoding="utf-8")
    options = ["--prompts", str(prompts), "--steps", "10", "--samplers", "ddim", "--guidance", "4", "--threads", "1"]

    ran = CliRunner().invoke(app, ["fidelity", *options, "--json", str(output)])

    assert ran.exit_code == 0, ran.output
    document = json.loads(output.read_text(encoding="utf-8"))
    exact, balanced, fast = document["classes"]
    assert [entry["quality"] for entry in document["classes"]] == ["exact", "balanced", "fast"]
    assert exact["rows_skipped"] == 0
    assert exact["ssim"]["worst"] == pytest.approx(1.0, abs=1e-5)
    assert 0 < balanced["rows_skipped"] <= fast["rows_skipped"] < 1
    assert {"mean", "worst"} == set(balanced["perceptual"]) == set(balanced["psnr"])
    assert [entry["criterion"] for entry in document["yardsticks"]] == ["another seed", "no guidance"]


@pytest.mark.parametrize(
    ("option", "value"),
    [("--steps", "ten"), ("--steps", "0"), ("--samplers", "heun"), ("--samplers", "euler_a"), ("--guidance", "nan")],
)
def test_a_bad_option_is_named(option: str, value: str) -> None:
    ran = CliRunner().invoke(app, ["fidelity", option, value])
    assert ran.exit_code == 2
    assert option[2:] in ran.output


def test_a_prompt_list_without_prompts_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "none.txt"
    empty.write_text("\n", encoding="utf-8")
    ran = CliRunner().invoke(app, ["fidelity", "--prompts", str(empty)])
    assert ran.exit_code == 2
    assert "prompts" in ran.output


def test_calibration_and_report_share_no_prompt() -> None:
    assert not set(shipped_prompts("calibration")) & set(shipped_prompts("held_out"))


def test_no_guidance_skips_every_row_and_full_guidance_none(study: Study) -> None:
    scenario, prediction = study.scenarios[0], study.prediction
    assert study.studio.make(scenario, no_guidance(prediction)).share == 1.0
    assert study.studio.make(scenario, full_guidance(prediction)).share == 0.0


def test_fast_is_the_same_alone_and_among_others(model: LoadedModel, study: Study) -> None:
    scenario = Scenario("dpmpp_2m", 12, (4.0,), 1)
    criterion = adaptive(model.calibration, study.prediction, "fast", "")
    together, alone = study.studio.make(scenario, criterion), Studio(model, PROMPTS[:1]).make(scenario, criterion)
    assert together.skipped[0] == alone.skipped[0] != ()
    torch.testing.assert_close(together.images[:1], alone.images, rtol=0, atol=1e-4)


def test_linear_ag_learns_on_its_prompts(study: Study) -> None:
    criterion = LinearAg(study.studio, study.scenarios[0]).criterion(1.0)
    figures = study.measure(criterion)
    assert figures.document()["rows_skipped"] == 0.5
    assert figures.mean("ssim") > study.measure(no_guidance(study.prediction)).mean("ssim")


def test_a_calibration_meets_its_own_targets(model: LoadedModel, study: Study) -> None:
    found = calibrate(study.studio, study.scenarios)
    assert found.model_hash == model.model_hash
    for quality, floor in (("balanced", 0.985), ("fast", 0.96)):
        if quality in found.classes:
            assert study.measure(adaptive(found, study.prediction, quality, "")).mean("ssim") >= floor
