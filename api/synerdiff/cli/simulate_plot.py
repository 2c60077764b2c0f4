"""The plot of ``synerdiff simulate --plot``: throughput and latency of each policy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synerdiff.protocol.errors import Unavailable


def draw_bars(found: Mapping[str, Any], path: Path) -> None:
    """Write a PNG with bars of images a second, mean and P99 E2E, and mean VAE latency."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise Unavailable("matplotlib is not installed; install it with: pip install 'synerdiff[bench]'") from None
    names = [row["policy"] for row in found["policies"]]
    panels = {
        "images a second": [row["images_per_s"] for row in found["policies"]],
        "mean E2E, s": [row["e2e_s"]["mean"] for row in found["policies"]],
        "P99 E2E, s": [row["e2e_s"]["p99"] for row in found["policies"]],
        "mean VAE latency, s": [row["vae_s"]["mean"] for row in found["policies"]],
    }
    figure = Figure(figsize=(4 * len(panels), 3.2), layout="constrained")
    for axes, (title, values) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        axes.barh(names, values)
        axes.invert_yaxis()
        axes.set_title(title)
    figure.suptitle(f"{found['machine']}, {found['model']}")
    figure.savefig(path, dpi=110)
