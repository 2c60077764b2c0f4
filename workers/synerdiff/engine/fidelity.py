"""The fidelity study: what each quality class saves and what it costs, beside other criteria and two yardsticks.

Every figure compares an image with the one that full guidance makes from the same prompt and seed. Two rows
belong beside every table, since plain backgrounds inflate SSIM: *another seed* (full guidance, other noise: a
good image, but a different one) and *no guidance*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor

from synerdiff.engine import metrics
from synerdiff.engine.calibration import Boldness, Calibration
from synerdiff.engine.fidelity_criteria import adaptive, baselines, full_guidance, no_guidance
from synerdiff.engine.fidelity_linear import LinearAg
from synerdiff.engine.fidelity_run import Criterion, Outcome, Scenario, Studio

CLASSES = ("exact", "balanced", "fast")
FLOORS = {"balanced": (0.98, 0.93), "fast": (0.95, 0.85)}
_OTHER_SEED = 500_000
_BOLDNESS = (0.125, 0.35, 0.7, 1.0, 1.6, 2.5, 4.0)
_LINEAR = (0.5, 0.75, 1.0)


def shipped_prompts(which: str) -> list[str]:
    """The prompts that come with the package: ``calibration`` or ``held_out``; the two share none."""
    text = files("synerdiff.engine").joinpath("fidelity_prompts", f"{which}.txt").read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if line.strip()]


@dataclass(slots=True)
class Figures:
    """Figures over any number of images, gathered scenario by scenario."""

    skipped: int = 0
    rows: int = 0
    parts: dict[str, list[Tensor]] = field(default_factory=dict)

    def add(self, outcome: Outcome, reference: Tensor) -> None:
        """Take in one scenario's images and those of full guidance."""
        self.skipped += sum(map(len, outcome.skipped))
        self.rows += outcome.rows
        for name, measure in _MEASURES.items():
            self.parts.setdefault(name, []).append(measure(outcome.images, reference))

    def mean(self, name: str) -> float:
        """Mean of a measure over the images."""
        return float(torch.cat(self.parts[name]).mean())

    def by_scale(self, name: str, count: int) -> list[Tensor]:
        """A measure's values at each of ``count`` guidance scales that the prompts of one scenario took in turn."""
        values = torch.cat(self.parts[name])
        return [values[index::count] for index in range(count)]

    def worst(self, name: str) -> float:
        """The worst image: lowest PSNR or SSIM, highest perceptual distance."""
        values = torch.cat(self.parts[name])
        return float(values.max() if name == "perceptual" else values.min())

    def document(self) -> dict[str, Any]:
        """``rows_skipped`` (share of the unconditional rows) and mean and worst of each measure."""
        measures = {name: {"mean": self.mean(name), "worst": self.worst(name)} for name in _MEASURES}
        return {"rows_skipped": self.skipped / max(self.rows, 1), **measures}


_MEASURES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "psnr": metrics.psnr,
    "ssim": metrics.ssim,
    "perceptual": metrics.perceptual,
}


class Study:
    """Criteria measured on one studio's prompts in the same scenarios, against full guidance made once.

    ``tick`` is called after each run of all prompts, with a text of what ran.
    """

    def __init__(
        self, studio: Studio, scenarios: Sequence[Scenario], tick: Callable[[str], None] = lambda what: None
    ) -> None:
        self.studio = studio
        self.scenarios = tuple(scenarios)
        self._tick = tick
        self._references: dict[Scenario, Tensor] = {}

    @property
    def prediction(self) -> str:
        """The model's prediction type."""
        return self.studio.model.tables.prediction

    def reference(self, scenario: Scenario) -> Tensor:
        """Full guidance's images."""
        if scenario not in self._references:
            outcome = self.studio.make(scenario, full_guidance(self.prediction))
            self._references[scenario] = outcome.images
            self._tick(f"full guidance: {scenario.label}")
        return self._references[scenario]

    def measure(self, criterion: Criterion, scenarios: Iterable[Scenario] | None = None) -> Figures:
        """Figures of one criterion over the scenarios."""
        figures = Figures()
        for scenario in self.scenarios if scenarios is None else scenarios:
            figures.add(self.studio.make(scenario, criterion), self.reference(scenario))
            self._tick(f"{criterion.name} {criterion.setting}: {scenario.label}")
        return figures

    def other_seed(self) -> Figures:
        """Full guidance from other noise."""
        figures = Figures()
        for scenario in self.scenarios:
            other = replace(scenario, seed=scenario.seed + _OTHER_SEED)
            outcome = self.studio.make(other, full_guidance(self.prediction))
            figures.add(outcome, self.reference(scenario))
            self._tick(f"another seed: {scenario.label}")
        return figures

    def classes(self, calibration: Calibration) -> list[dict[str, Any]]:
        """One entry a quality class, with its floors and an entry a scenario; ``exact`` is full guidance itself."""
        found = []
        for quality in CLASSES:
            criterion = adaptive(calibration, self.prediction, quality, quality)
            parts = {scenario: self.measure(criterion, [scenario]) for scenario in self.scenarios}
            whole = merged(parts.values())
            by_scenario = [{"scenario": scenario.label, **part.document()} for scenario, part in parts.items()]
            met = _met(quality, whole)
            found.append({"quality": quality, **whole.document(), "floor_met": met, "scenarios": by_scenario})
        return found

    def yardsticks(self) -> list[dict[str, Any]]:
        """The rows that belong beside every table."""
        without = self.measure(no_guidance(self.prediction))
        return [
            {"criterion": "another seed", "setting": "", **self.other_seed().document()},
            {"criterion": "no guidance", "setting": "", **without.document()},
        ]

    def frontier(self, calibration: Calibration, learner: Studio) -> list[dict[str, Any]]:
        """Every criterion's points; LinearAG learns on ``learner``'s prompts, never on the measured ones."""
        criteria = [*baselines(calibration, self.prediction), *self._boldness(calibration)]
        points = [_point(criterion, self.measure(criterion)) for criterion in criteria]
        fits = {scenario: LinearAg(learner, scenario) for scenario in self.scenarios}
        for until in _LINEAR:
            linear = {scenario: fit.criterion(until) for scenario, fit in fits.items()}
            whole = merged(self.measure(criterion, [scenario]) for scenario, criterion in linear.items())
            points.append(_point(next(iter(linear.values())), whole))
        return points

    def _boldness(self, calibration: Calibration) -> list[Criterion]:
        limits = calibration.classes.get("balanced")
        if limits is None:
            return []
        grid = {"fast": calibration.boldness.get("balanced", Boldness())}
        return [
            adaptive(
                replace(calibration, classes={"fast": limits.scaled(factor)}, boldness=grid),
                self.prediction,
                "fast",
                f"balanced x {factor:g}",
            )
            for factor in _BOLDNESS
        ]


def merged(parts: Iterable[Figures]) -> Figures:
    """Figures over all images of the parts."""
    whole = Figures()
    for part in parts:
        whole.skipped += part.skipped
        whole.rows += part.rows
        for name, values in part.parts.items():
            whole.parts.setdefault(name, []).extend(values)
    return whole


def _met(quality: str, figures: Figures) -> bool:
    mean, worst = FLOORS.get(quality, (0.0, 0.0))
    return figures.mean("ssim") >= mean and figures.worst("ssim") >= worst


def _point(criterion: Criterion, figures: Figures) -> dict[str, Any]:
    return {"criterion": criterion.name, "setting": criterion.setting, **figures.document()}
