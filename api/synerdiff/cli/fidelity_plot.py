"""The frontier: rows saved against each measure, one line a criterion."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

_PANELS = (
    ("ssim", "mean", "SSIM, mean"),
    ("ssim", "worst", "SSIM, worst image"),
    ("psnr", "mean", "PSNR, mean (dB)"),
    ("perceptual", "mean", "perceptual distance, mean"),
)


def draw(document: dict[str, Any], path: Path) -> None:
    """Draw a document of ``synerdiff fidelity`` with its frontier to a PNG file."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(13, 9), layout="constrained")
    for axis, (measure, which, title) in zip(axes.flat, _PANELS, strict=True):
        _panel(axis, document, measure, which)
        axis.set(title=title, xlabel="unconditional rows saved (%)")
        axis.grid(alpha=0.3)
    axes[0, 0].legend(fontsize=7, loc="lower left")
    figure.suptitle(f"{document['model']}: " + "; ".join(document["scenarios"]), fontsize=9)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _panel(axis: Any, document: dict[str, Any], measure: str, which: str) -> None:
    for index, (name, points) in enumerate(_families(document["frontier"])):
        ours = name.startswith("adaptive")
        style = {"linewidth": 2.5, "color": "black", "zorder": 5} if ours else {"linewidth": 1, "alpha": 0.8}
        x, y = _coordinates(points, measure, which)
        axis.plot(x, y, marker="ox^sv"[index % 5], markersize=4, label=name, **style)
    for entry, marker in zip(document["classes"][1:], "*P", strict=False):
        x, y = _coordinates([entry], measure, which)
        axis.plot(x, y, marker, markersize=15, color="crimson", zorder=6, label=f"class {entry['quality']}")
    for entry, line in zip(document["yardsticks"], (":", "--"), strict=True):
        axis.axhline(entry[measure][which], linestyle=line, color="gray", linewidth=1, label=entry["criterion"])


def _families(points: Iterable[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    families: dict[str, list[dict[str, Any]]] = {}
    for point in points:
        families.setdefault(point["criterion"], []).append(point)
    return list(families.items())


def _coordinates(points: list[dict[str, Any]], measure: str, which: str) -> tuple[list[float], list[float]]:
    ordered = sorted(points, key=lambda point: float(point["rows_skipped"]))
    return [100 * point["rows_skipped"] for point in ordered], [point[measure][which] for point in ordered]
