"""The simulator's output: the bench's JSON, and lines for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from synerdiff.policy.simulator.figures import Outcome
from synerdiff.policy.simulator.run import Scenario


def document(outcomes: Sequence[Outcome], scenario: Scenario, extra: Mapping[str, Any]) -> dict[str, Any]:
    """One JSON document with the bench's fields; ``extra`` goes to the top level."""
    profile = scenario.profile
    return {
        "machine": f"simulated: {scenario.gpus} x {profile.device}",
        "model": profile.model,
        "threads": profile.threads,
        "simulated": True,
        "profile_id": profile.profile_id,
        "assumptions": list(profile.assumptions),
        "gpus": scenario.gpus,
        "theta": scenario.theta,
        "policies": [outcome.row() for outcome in outcomes],
        **extra,
    }


def table(found: Mapping[str, Any]) -> list[list[str]]:
    """Rows of a table, the header first."""
    header = ["policy", "images/s", "E2E mean", "p50", "p99", "VAE mean", "rows skipped", "ceiling", "GPUs for the SLO"]
    lines = [header]
    for row in found["policies"]:
        e2e, vae = row["e2e_s"], row["vae_s"]
        skipped = row["rows_skipped"] / max(row["rows_run"] + row["rows_skipped"], 1)
        needed = row.get("gpus_needed", "-")
        figures = [row["images_per_s"], e2e["mean"], e2e["p50"], e2e["p99"], vae["mean"]]
        shown = [f"{value:.3g}" if value < 100 else f"{value:.0f}" for value in figures]
        share = f"{row['ceiling_share']:.2f}"
        lines.append([row["policy"], *shown, f"{skipped:.0%}", share, str(needed or "over 256")])
    return lines if "slo_s" in found else [line[:-1] for line in lines]
