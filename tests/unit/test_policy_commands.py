"""``synerdiff simulate`` and ``synerdiff plan show`` as a person calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from synerdiff.cli.main import app
from synerdiff.policy import plan_view, profile_document
from synerdiff.policy.shipped import shipped_profile
from synerdiff.protocol.errors import SynerDiffError

RUN = CliRunner()
FIGURES = {
    "policy",
    "images_per_s",
    "e2e_s",
    "vae_s",
    "rows_run",
    "rows_skipped",
    "cpu_s_per_image",
    "mean_rows_per_call",
    "ceiling_share",
    "ssim",
}


def call(*arguments: str) -> str:
    found = RUN.invoke(app, list(arguments))
    assert found.exit_code == 0, found.output
    return found.stdout


def refusal(*arguments: str) -> str:
    found = RUN.invoke(app, list(arguments))
    assert isinstance(found.exception, SynerDiffError)
    return found.exception.message


def test_simulate_writes_the_figures_of_the_bench(tmp_path: Path) -> None:
    trace, written, plot = tmp_path / "t.jsonl", tmp_path / "out.json", tmp_path / "out.png"
    trace.write_text("".join(json.dumps({"at": i, "prompt": "x", "steps": 8}) + "\n" for i in range(20)))
    shown = call(
        "simulate",
        "--trace",
        str(trace),
        "--profile",
        "cpu-tiny-emoji-128",
        "--policies",
        "static,synerdiff",
        "--json",
        str(written),
        "--plot",
        str(plot),
    )
    found = json.loads(written.read_text())
    assert {"machine", "model", "threads", "policies"} <= set(found)
    assert [row["policy"] for row in found["policies"]] == ["static", "synerdiff"]
    assert set(found["policies"][1]) == FIGURES
    assert "synerdiff" in shown
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_simulate_answers_what_if(tmp_path: Path) -> None:
    profile = tmp_path / "mine.json"
    profile.write_text(profile_document(shipped_profile("h100-sdxl-1024")))
    found = json.loads(
        call(
            "simulate",
            "--rate",
            "2",
            "--jobs",
            "100",
            "--profile",
            str(profile),
            "--slo",
            "10",
            "--policies",
            "synerdiff",
            "--json",
            "-",
        )
    )
    assert found["policies"][0]["gpus_needed"] >= 2


def test_a_plan_is_drawn_recorded_and_replayed(tmp_path: Path) -> None:
    drawn = call("plan", "show", "--profile", "h100-sdxl-lcm-1024", "--theta", "0.95", "--slots", "4")
    assert "█" in drawn
    assert "▒" in drawn
    recorded = tmp_path / "plan.json"
    recorded.write_text(call("plan", "show", "--profile", "h100-sdxl-1024", "--json"))
    plan = json.loads(recorded.read_text())
    plan_view(plan["head"], plan["table"])
    call("simulate", "--closed", "--jobs", "20", "--policies", "synerdiff", "--plan", str(recorded))
    other = ("--policies", "synerdiff", "--profile", "a100-sd15-512")
    assert "plan.profile_id" in refusal("simulate", "--rate", "1", "--plan", str(recorded), *other)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["simulate"], "trace"),
        (["simulate", "--rate", "0"], "rate"),
        (["simulate", "--rate", "1", "--policies", "best"], "best"),
        (["simulate", "--rate", "1", "--theta", "1.5"], "theta"),
        (["simulate", "--rate", "1", "--theta", "often"], "often"),
        (["simulate", "--rate", "1", "--steps", "4,x"], "steps"),
        (["simulate", "--rate", "1", "--slo", "0"], "slo"),
        (["simulate", "--rate", "1", "--profile", "h900"], "h900"),
        (["simulate", "--trace", "/nowhere.jsonl"], "/nowhere.jsonl"),
        (["simulate", "--rate", "1", "--plan", "/nowhere.json"], "/nowhere.json"),
        (["plan", "show", "--profile", "h100-sdxl-1024", "--theta", "queue"], "theta"),
        (["plan", "show", "--profile", "h100-sdxl-1024", "--theta", "profile"], "theta"),
    ],
)
def test_a_wrong_option_is_one_sentence_that_names_it(arguments: list[str], names: str) -> None:
    assert names in refusal(*arguments)


def test_a_wrong_file_is_named_with_its_field(tmp_path: Path) -> None:
    path = tmp_path / "bad"
    path.write_text('{"at": 1}\n{"at": 0}\n')
    assert "line 2.at" in refusal("simulate", "--trace", str(path))
    path.write_text("{}")
    assert f"{path}: format" in refusal("simulate", "--rate", "1", "--profile", str(path))
    assert f"{path}: plan" in refusal("simulate", "--rate", "1", "--plan", str(path))
