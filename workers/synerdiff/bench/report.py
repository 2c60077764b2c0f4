"""The bench's figures as JSON values, a Markdown table and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from synerdiff.bench.outcome import Run
from synerdiff.engine.metrics import ssim
from synerdiff.engine.types import Pixels

FLOORS = {"balanced": (0.98, 0.93), "fast": (0.95, 0.85)}
EXACT_FLOORS = {"bfloat16": (0.996, 0.985)}
"""By precision, for in bfloat16 neighbours in a batch change an image by more: 0.998 and 0.993 over 72 jobs."""
EXACT_FLOOR = (0.999, 0.999)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean, median and 99th percentile."""
    if not values:
        return {"mean": 0.0, "p50": 0.0, "p99": 0.0}
    p50, p99 = np.percentile(values, (50, 99))
    return {"mean": float(np.mean(values)), "p50": float(p50), "p99": float(p99)}


def fidelity(run: Run, reference: Run) -> dict[str, float]:
    """SSIM of a run's images against the reference's images of the same jobs: mean and worst."""
    scores = [
        ssim(_unit(pixels), _unit(reference.jobs[job_id].images[index])).item()
        for job_id, job in run.jobs.items()
        for index, pixels in job.images.items()
    ]
    return {"mean": float(np.mean(scores)), "worst": float(np.min(scores))}


def _unit(pixels: Pixels) -> torch.Tensor:
    """``[1, 3, H, W]`` in [0, 1]."""
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].double() / 255


def figures(runs: Sequence[Run], ceilings: Sequence[float], reference: Run, quality: str, dtype: str) -> dict[str, Any]:
    """One policy's figures over its rounds: medians of the rounds' rates, latencies of all rounds together."""
    score = fidelity(runs[-1], reference)
    mean_floor, worst_floor = FLOORS.get(quality, EXACT_FLOORS.get(dtype, EXACT_FLOOR))
    images = runs[0].images
    return {
        "policy": runs[0].policy,
        "images_per_s": median(run.images / run.wall_s for run in runs),
        "images_per_s_rounds": [run.images / run.wall_s for run in runs],
        "e2e_s": spread([job.e2e_s for run in runs for job in run.jobs.values()]),
        "vae_s": spread([seconds for run in runs for job in run.jobs.values() for seconds in job.vae_s]),
        "rows_run": runs[-1].rows_run,
        "rows_skipped": runs[-1].rows_skipped,
        "cpu_s_per_image": median(run.cpu_s / images for run in runs),
        "rounds": len(runs),
        "by_half": [_medians([run.by_half[half] for run in runs]) for half in (0, 1)],
        "mean_rows_per_call": median(run.mean_rows_per_call for run in runs),
        "ceiling_share": median(ceiling / run.wall_s for ceiling, run in zip(ceilings, runs, strict=True)),
        "ssim": score,
        "failed": score["mean"] < mean_floor or score["worst"] < worst_floor,
    }


def _medians(values: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: median(each[name] for each in values) for name in values[0]}


def markdown(document: dict[str, Any]) -> str:
    """The table a person reads."""
    head = (
        "| policy | images/s | E2E mean / p99 (s) | VAE mean / p99 (s) | rows run | rows skipped | CPU s/image |"
        " rows/call | of ceiling | SSIM mean / worst |\n|---|---|---|---|---|---|---|---|---|---|\n"
    )
    return head + "".join(_row(item) for item in document["policies"])


def _row(item: dict[str, Any]) -> str:
    e2e, vae, score = item["e2e_s"], item["vae_s"], item["ssim"]
    mark = " **below its floor**" if item["failed"] else ""
    return (
        f"| {item['policy']} | {item['images_per_s']:.2f} | {e2e['mean']:.2f} / {e2e['p99']:.2f} |"
        f" {vae['mean']:.3f} / {vae['p99']:.3f} | {item['rows_run']} | {item['rows_skipped']} |"
        f" {item['cpu_s_per_image']:.2f} | {item['mean_rows_per_call']:.1f} | {item['ceiling_share']:.0%} |"
        f" {score['mean']:.4f} / {score['worst']:.4f}{mark} |\n"
    )


def plot(document: dict[str, Any], path: Path) -> None:
    """Bars of throughput and latency by policy."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    names = [item["policy"] for item in document["policies"]]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    left.barh(names, [item["images_per_s"] for item in document["policies"]], color="#3b6fb6")
    left.set_xlabel("images per second")
    right.barh(names, [item["e2e_s"]["p99"] for item in document["policies"]], color="#d8dee9", label="p99")
    right.barh(names, [item["e2e_s"]["mean"] for item in document["policies"]], color="#b6533b", label="mean")
    right.set_xlabel("E2E latency (s)")
    right.legend(frameon=False)
    for axis in (left, right):
        axis.invert_yaxis()
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{document['model']}, {document['threads']} threads, {document['machine']['cpu']}", fontsize=10)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
