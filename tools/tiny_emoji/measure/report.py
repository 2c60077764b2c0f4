"""The control measurement as Markdown, and its curve over training as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_PARTS = {"all": "all prompts", "natural": "objects in their own colour", "recoloured": "objects in another colour"}


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f}%" if value >= 0.05 else f"{100 * value:.1f}%"


def _line(name: str, scale: str, rates: dict[str, float], questions: list[str]) -> str:
    return f"| {name} | {scale} | " + " | ".join(_percent(rates.get(question)) for question in questions) + " |"


def _table(document: dict[str, Any], part: str) -> list[str]:
    questions = list(document["ceiling"][part])
    lines = [f"| model | guidance | {' | '.join(questions)} |", "|---" * (2 + len(questions)) + "|"]
    for name, scales in document["models"].items():
        lines += [_line(name, scale, rates[part], questions) for scale, rates in scales.items()]
    lines.append(_line("*composed images*", "", document["ceiling"][part], questions))
    lines.append(_line("*chance*", "", document["chance"], questions))
    return lines


def to_markdown(document: dict[str, Any]) -> str:
    """One table for the whole list and one for each part."""
    head = (
        f"{document['prompts']} held-out prompts, images of each: {document['seeds']}, {document['sampler']}, "
        f"{document['steps']} steps. "
        "*Composed images*: what the judges find in images composed for the same prompts and sent through the VAE."
    )
    for question, accuracy in document["classifier"].items():
        head += f" The classifier's own held-out accuracy: {question} {_percent(accuracy)}."
    sections = ["\n".join([f"Right, {title}:", "", *_table(document, part)]) for part, title in _PARTS.items()]
    return "\n\n".join([head, *sections, *_pairs(document)]) + "\n"


def _pairs(document: dict[str, Any]) -> list[str]:
    """The differences to another measurement of the same images, in points of a hundred with their standard errors."""
    if "paired" not in document:
        return []
    questions = list(document["ceiling"]["all"])
    lines = [f"| model | guidance | {' | '.join(questions)} |", "|---" * (2 + len(questions)) + "|"]
    for name, scales in document["paired"].items():
        for scale, found in scales.items():
            cells = [f"{100 * each['difference']:+.1f} ± {100 * each['error']:.1f}" for each in found.values()]
            lines.append(f"| {name} | {scale} | " + " | ".join(cells) + " |")
    title = f"Points more than in {document['against']}, same prompts and seeds, with the standard error:"
    return ["\n".join([title, "", *lines])]


def draw_curve(document: dict[str, Any], path: Path) -> None:
    """Share right over training samples, which name a curve's models; a line for each guidance scale, a panel for
    each question. Needs the extra ``bench``."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    models: dict[str, Any] = document["models"]
    questions = list(document["ceiling"]["all"])
    seen = [int(name) / 1000 for name in models]
    figure, axes = plt.subplots(
        1, len(questions), figsize=(3.2 * len(questions), 3.2), layout="constrained", squeeze=False, sharey=True
    )
    for axis, question in zip(axes[0], questions, strict=True):
        for scale in next(iter(models.values())):
            right = [100 * scales[scale]["all"][question] for scales in models.values()]
            axis.plot(seen, right, marker="o", markersize=3, label=f"guidance {scale}")
        axis.axhline(100 * document["ceiling"]["all"][question], linestyle=":", color="gray", label="composed images")
        if question in document["chance"]:
            axis.axhline(100 * document["chance"][question], linestyle="--", color="silver", label="chance")
        axis.set(title=f"{question} right", xlabel="thousand samples seen", xlim=(0, None), ylim=(0, 103))
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("% of images")
    axes[0, 0].legend(fontsize=7)
    figure.savefig(path, dpi=100)
    plt.close(figure)
