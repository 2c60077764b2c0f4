"""The simulator beside the bench: one that measured what the simulator says is predicted as it was, at any pace."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.simulated import compare
from synerdiff.policy.cost import CostModel
from synerdiff.policy.profile import Granularity, Profile, profile_document
from synerdiff.policy.shipped import shipped_profile
from synerdiff.policy.simulator import Outcome, Scenario, SimJob, parse_trace, simulate, summary
from synerdiff.policy.simulator.pipeline import Batching, PipelineRun

PROFILE = replace(shipped_profile("cpu-tiny-emoji-128"), encode_s=0.0, exact_s=(0.02, 0.03), skips={})
CAP = 6
STEP_S = {1: 0.03, 2: 0.04, 4: 0.06}
FIXED_S = 0.025


def written(out: Path, section: str, lines: list[dict[str, Any]]) -> list[SimJob]:
    texts = [json.dumps(line) for line in lines]
    (out / f"{section}.trace.jsonl").write_text("\n".join(texts), encoding="utf-8")
    return parse_trace(texts)


def slower(profile: Profile, factor: float) -> Profile:
    cuts = tuple(Granularity(cut.name, tuple(factor * s for s in cut.chunk_s)) for cut in profile.granularities)
    unet_s = tuple(factor * s for s in profile.unet_s)
    exact_s = tuple(factor * s for s in profile.exact_s)
    return replace(profile, unet_s=unet_s, exact_s=exact_s, granularities=cuts, slot_s=factor * profile.slot_s)


def pipeline(jobs: list[SimJob], factor: float, batching: Batching) -> Outcome:
    """The plain pipeline of a machine that takes ``factor`` times what the tuner saw."""
    rows = tuple(jobs[0].rows * cap for cap in STEP_S)
    unet_s = tuple(factor * s for s in STEP_S.values())
    plain = replace(PROFILE, rows=rows, unet_s=unet_s, pairs=None, slot_s=0.0)

    def fixed_s(images: int) -> float:
        return factor * FIXED_S * images

    return PipelineRun(CostModel(plain), jobs, batching, gpus=1, policy="plain", fixed_s=fixed_s).run()


def measured(section: str, jobs: list[SimJob], pace: float, tuned_at: float) -> dict[str, Any]:
    """What the bench would have kept: an engine 1.3 times as slow as its profile, a pipeline 1.1 times its tuner."""
    outcomes = {
        "diffusers": pipeline(jobs, 1.1 * pace / tuned_at, Batching()),
        "static": pipeline(jobs, 1.1 * pace / tuned_at, Batching(2, 0.5)),
        "continuous": simulate("continuous", jobs, Scenario(slower(PROFILE, 1.3 * pace), cap=CAP)),
    }
    times = {str(cap): {"fixed_s": FIXED_S * cap, "step_s": step_s} for cap, step_s in STEP_S.items()}
    return {
        "section": section,
        "closed": jobs[-1].at == 0,
        "batch_cap": CAP,
        "static": {"cap": 2, "window_s": 0.5, "pace_s": tuned_at, "times": times},
        "policies": [
            {"policy": name, "pace_s": pace, "images_per_s": outcome.images_per_s, "e2e_s": summary(outcome.e2e_s)}
            for name, outcome in outcomes.items()
        ],
    }


def test_what_the_simulator_measured_is_what_it_predicts(tmp_path: Path) -> None:
    (tmp_path / "profile.json").write_text(profile_document(PROFILE), encoding="utf-8")
    guided = [{"at": 0.0, "prompt": "a", "steps": 4 + 3 * (i % 5)} for i in range(20)]
    plain = [{"at": 0.05 * i, "prompt": "a", "steps": 4, "guidance_scale": 1.0} for i in range(20)]
    found = {
        "mixed": measured("mixed", written(tmp_path, "mixed", guided), 0.2, 0.25),
        "few": measured("few", written(tmp_path, "few", plain), 0.3, 0.15),
    }
    found["bfloat16"] = {**found["mixed"], "section": "bfloat16", "dtype": "bfloat16"}
    rows = compare(tmp_path, found)
    assert [(row["section"], row["policy"], row["fitted"]) for row in rows] == [
        (section, policy, section == "mixed")
        for section in ("mixed", "few")
        for policy in ("diffusers", "static", "continuous")
    ]
    for row in rows:
        for which in ("mean", "p99"):
            assert row[which][1] == pytest.approx(row[which][0], rel=1e-6), (row["section"], row["policy"], which)
