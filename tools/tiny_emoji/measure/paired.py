"""Two measurements of the same prompts and seeds, image by image: the difference in what is right, and its error."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def check_pair(document: dict[str, Any], other: dict[str, Any]) -> None:
    """Raise :class:`ValueError` naming the first field in which two measurements are not of the same images."""
    for name in ("prompts", "seeds", "steps", "sampler"):
        if document[name] != other.get(name):
            raise ValueError(f"against: its {name} are {other.get(name)!r}, here {document[name]!r}")


def paired(document: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """For each model and guidance scale that both hold: ``difference`` in the share right, and its ``error``.

    The error is the standard error over prompts of each prompt's mean difference over seeds: images of one prompt are
    not independent of each other.
    """
    check_pair(document, other)
    return {
        name: {
            scale: {
                question: _difference(found, other["answers"][name][scale][question])
                for question, found in asked.items()
            }
            for scale, asked in scales.items()
            if scale in other["answers"].get(name, {})
        }
        for name, scales in document["answers"].items()
    }


def _difference(ours: list[str], theirs: list[str]) -> dict[str, float]:
    by_prompt = (_right(ours) - _right(theirs)).mean(axis=0)
    return {"difference": float(by_prompt.mean()), "error": float(by_prompt.std(ddof=1) / len(by_prompt) ** 0.5)}


def _right(answers: list[str]) -> NDArray[np.float64]:
    """``[seeds, prompts]``, 1 where right."""
    return np.array([[int(letter) for letter in seed] for seed in answers], dtype=float)
