"""``doctor --model``: what is said of a checkpoint of each family, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.checkpoints import FAMILIES, make_checkpoint
from synerdiff.cli import model_report
from synerdiff.cli.main import app
from synerdiff.engine.calibration import FILE_NAME
from synerdiff.engine.checkpoint import inspect
from synerdiff.engine.describe import describe
from synerdiff.engine.model import shipped_path
from synerdiff.protocol import Limits, ModelEntry, parse_job
from synerdiff.protocol.errors import InvalidJob, ModelError
from synerdiff.protocol.job import SAMPLERS


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The description of a small random checkpoint of each family."""
    folder = tmp_path_factory.mktemp("families")
    return {family: describe(inspect(make_checkpoint(folder / family, family)), family) for family in FAMILIES}


@pytest.mark.parametrize(
    ("made", "family", "prediction"),
    [
        ("sd1", "Stable Diffusion 1.x", "epsilon"),
        ("sd2", "Stable Diffusion 2.x", "v_prediction"),
        ("sdxl", "Stable Diffusion XL", "epsilon"),
    ],
)
def test_families_with_guidance(described: dict[str, dict[str, Any]], made: str, family: str, prediction: str) -> None:
    found = described[made]
    assert (found["family_name"], found["prediction"]) == (family, prediction)
    assert found["samplers"] == list(SAMPLERS)
    assert found["features"]["guidance"]["applies"]
    assert "not calibrated" in found["features"]["skip_guidance"]["note"]
    assert not found["features"]["few_steps"]["applies"]


@pytest.mark.parametrize(("made", "family"), [("turbo", "Stable Diffusion XL"), ("sd-turbo", "Stable Diffusion 2.x")])
def test_turbo_is_told_by_its_scheduler(described: dict[str, dict[str, Any]], made: str, family: str) -> None:
    found = described[made]
    assert (found["family_name"], found["prediction"]) == (family, "epsilon")
    assert found["samplers"] == list(SAMPLERS)
    features = found["features"]
    assert "ask for guidance_scale 0" in features["guidance"]["note"]
    assert not features["skip_guidance"]["applies"]
    assert features["few_steps"] == {
        "applies": True,
        "note": "its scheduler is that of Turbo checkpoints: 1 to 4 steps with guidance_scale 0 suit them",
    }


@pytest.mark.parametrize("made", ["lcm", "lcm-xl"])
def test_distilled_guidance_is_not_offered_again(described: dict[str, dict[str, Any]], made: str) -> None:
    found = described[made]
    assert found["samplers"] == ["lcm"]
    applies = {name: feature["applies"] for name, feature in found["features"].items()}
    assert applies == {
        "continuous_batching": True,
        "guidance": False,
        "skip_guidance": False,
        "vae_chunking": True,
        "few_steps": True,
    }


def test_a_job_whose_sampler_the_family_cannot_use_is_refused_when_it_is_submitted(
    described: dict[str, dict[str, Any]],
) -> None:
    entry = ModelEntry(**{name: described["lcm"][name] for name in ModelEntry.model_fields})
    with pytest.raises(InvalidJob, match="sampler must be one of lcm for lcm; got 'ddim'"):
        parse_job({"prompt": "a fox", "sampler": "ddim"}, limits=Limits(), entry=entry)
    assert parse_job({"prompt": "a fox", "sampler": "lcm"}, limits=Limits(), entry=entry).sampler == "lcm"


def test_sizes_and_memory_are_counted_from_the_headers(described: dict[str, dict[str, Any]]) -> None:
    found = described["sdxl"]
    assert (found["default_width"], found["default_height"], found["latent_multiple"]) == (64, 64, 8)
    assert set(found["parameters"]) == {"unet", "vae", "text_encoder", "text_encoder_2"}
    total, vae = sum(found["parameters"].values()), found["parameters"]["vae"]
    assert found["weight_bytes"] == pytest.approx(4 * total, rel=0.05)
    assert found["memory_bytes"] == {
        "cpu_weights": 4 * total,
        "gpu_weights": 2 * (total - vae) + 4 * vae,  # its VAE asks for float32
        "cpu_decode": 3 * 32 * 64 * 64 * 4,
        "gpu_decode": 3 * 32 * 64 * 64 * 4,
    }


def test_a_calibration_counts_for_its_own_weights_alone(tmp_path: Path) -> None:
    shipped = describe(inspect(shipped_path()), "tiny-emoji")["features"]["skip_guidance"]
    assert shipped["note"].startswith("calibrated for these weights")
    other = make_checkpoint(tmp_path / "other")
    shutil.copy(shipped_path() / FILE_NAME, other)
    assert describe(inspect(other), "other")["features"]["skip_guidance"]["note"].startswith("not calibrated")


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["doctor", *arguments])


def test_doctor_says_it_in_sentences_and_as_json() -> None:
    shown = run("--model", str(shipped_path()))
    assert shown.exit_code == 0
    assert "VAE chunking" in shown.stdout
    assert "Stable Diffusion 1.x" in shown.stdout
    document = json.loads(run("--model", str(shipped_path()), "--json").stdout)
    assert document["loaded"]
    assert document["fits"]["cpu"]
    assert document["default_width"] == 128
    assert len(document["model_hash"]) == 64


@pytest.mark.parametrize(
    ("name", "memory_bytes", "fit"), [("cuda:0", 100, True), ("cuda:0", 90, False), ("cpu", 100, False)]
)
def test_fits_compares_weights_and_one_decode(name: str, memory_bytes: int, fit: bool) -> None:
    need = {"gpu_weights": 80, "gpu_decode": 15, "cpu_weights": 160, "cpu_decode": 30}
    assert model_report.fits({"name": name, "memory_bytes": memory_bytes}, need) == fit


def test_doctor_does_not_load_what_memory_cannot_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_report, "_free_bytes", lambda: 1e6)
    document = json.loads(run("--model", str(shipped_path()), "--json").stdout)
    assert not document["loaded"]
    assert "MB are free here" in document["why_not_loaded"]


@pytest.mark.parametrize(
    ("model", "reason"),
    [("/nowhere/at/all", "/nowhere/at/all does not exist"), ("some/model", "needs a pinned revision")],
)
def test_doctor_refuses_with_a_sentence(model: str, reason: str) -> None:
    refused = run("--model", model).exception
    assert isinstance(refused, ModelError)
    assert reason in refused.message
