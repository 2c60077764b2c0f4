"""Calibration: the predictor that comes closest, then the boldest limits that keep each class's fidelity.

How bold is one number, by which tolerance, staleness and gain grow together, found by bisection for every number of
steps and guidance scale of a grid by itself: few steps or a high guidance scale can't hide behind the rest, and what is
easy isn't held back by what is hard. All scales of a number of steps are searched in the same runs, and the classes
share them. Every prompt meets several scales and samplers, so that no point of the grid hangs on a few images; and
since an error counts more the higher the guidance, factors that rise with it are chance and are pooled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate

import torch
from torch import Tensor

from synerdiff.engine.calibration import SMALLEST_FACTOR, Boldness, Calibration, Limits
from synerdiff.engine.fidelity import FLOORS, Study
from synerdiff.engine.fidelity_criteria import adaptive
from synerdiff.engine.fidelity_run import Scenario, Studio

START = Limits(tolerance=0.04, longest=12, stale=1.1, gain=2.0)
RUNGS = tuple(2.0 ** (power / 2) for power in range(-5, 10))
"""Fifteen factors, so that four trials find one."""
TARGETS = {"balanced": (0.983, 0.94), "fast": (0.955, 0.86)}
"""Mean and worst SSIM on the calibration prompts at each point of the grid: the floors with a margin for others."""
EXTRAPOLATIONS: tuple[tuple[tuple[float, float], ...], ...] = (
    ((0.0, 0.0),),
    ((0.0, 0.7), (5.0, 0.5), (7.5, 0.0)),
    ((0.0, 0.5),),
)
TURNS = {8: 9, 20: 4, 50: 3}
"""Rounds of all prompts at each number of steps, each with the next sampler, seeds and guidance scale for every prompt.

Jobs of few steps have more: one skipped step decides more there, and their images are cheap.
"""
SCALES = (1.5, 3.0, 5.0, 7.5)
SAMPLERS = ("dpmpp_2m", "ddim", "dpmpp_2m_karras")
SEED = 90_000
_NEVER = {"euler_a": 0.0, "lcm": 0.0}


def calibration_scenarios() -> list[Scenario]:
    """Few to many steps with several samplers, the prompts taking turns at guidance scales 1.5 to 7.5."""
    return [
        Scenario(SAMPLERS[turn % len(SAMPLERS)], steps, _turned(SCALES, turn), SEED + 1000 * turn)
        for steps, turns in TURNS.items()
        for turn in range(turns)
    ]


def _turned(scales: tuple[float, ...], turn: int) -> tuple[float, ...]:
    first = turn % len(scales)
    return scales[first:] + scales[:first]


def calibrate(
    studio: Studio, scenarios: Sequence[Scenario] | None = None, tick: Callable[[str], None] = lambda what: None
) -> Calibration:
    """Calibrate a model on a studio's prompts; the scenarios differ in steps and share their guidance scales.

    Where not even the most careful limits keep a class's fidelity, its factor is 0: it never skips there.
    """
    study = Study(studio, calibration_scenarios() if scenarios is None else scenarios, tick)
    base = Calibration(classes={}, samplers=_NEVER, model_hash=studio.model.model_hash)
    base = _closest_predictor(study, base)
    classes, boldness = {}, {}
    trials = [_Trials(study, base, steps) for steps in sorted({scenario.steps for scenario in study.scenarios})]
    for quality, target in TARGETS.items():
        found = Boldness(
            tuple(each.steps for each in trials),
            trials[0].scales,
            tuple(each.line(target, FLOORS[quality]) for each in trials),
        )
        if any(factor for line in found.factors for factor in line):
            classes[quality], boldness[quality] = START, found
    return replace(base, classes=classes, boldness=boldness)


def _closest_predictor(study: Study, base: Calibration) -> Calibration:
    """Reuse, two extrapolations, or dropping the difference: the best mean SSIM at the starting limits."""
    candidates = [replace(base, extrapolation=points) for points in EXTRAPOLATIONS]
    candidates.append(replace(base, carry=0.0))
    return max(candidates, key=lambda candidate: _mean_ssim(study, candidate))


def _mean_ssim(study: Study, candidate: Calibration) -> float:
    trial = replace(candidate, classes={"fast": START})
    criterion = adaptive(trial, study.prediction, "fast", "trial")
    return study.measure(criterion, [middle(study.scenarios)]).mean("ssim")


def middle(scenarios: Sequence[Scenario]) -> Scenario:
    """The first of those of the middle number of steps: at the fewest steps hardly any is skipped, by any predictor."""
    counts = sorted({scenario.steps for scenario in scenarios})
    return next(scenario for scenario in scenarios if scenario.steps == counts[len(counts) // 2])


class _Trials:
    """Runs at one number of steps, each with a rung of boldness at every guidance scale; kept for the next class."""

    def __init__(self, study: Study, base: Calibration, steps: int) -> None:
        self.steps = steps
        self._study, self._base = study, base
        self._scenarios = [scenario for scenario in study.scenarios if scenario.steps == steps]
        self.scales = tuple(sorted(self._scenarios[0].guidance))
        self._ssim: list[dict[int, Tensor]] = [{} for _ in self.scales]

    def line(self, target: tuple[float, float], floor: tuple[float, float]) -> tuple[float, ...]:
        """The boldest factors at each guidance scale, ascending, that meet the target; 0 where none does.

        Then pooled, so that none is bolder than at a lower scale. Where pooling made one bolder than was found by
        itself, it stays so only if that keeps the class's floor, which is the target without its margin.
        """
        found = self._boldest(target)
        pooled = falling(found)
        bolder = [after > before for before, after in zip(found, pooled, strict=True)]
        if any(bolder):
            kept = [_meets(ssim, floor) for ssim in self._ssim_with(pooled)]
            chosen = zip(found, pooled, bolder, kept, strict=True)
            pooled = tuple(own if more and not keeps else fit for own, fit, more, keeps in chosen)
        return tuple(accumulate(pooled, min))

    def _boldest(self, target: tuple[float, float]) -> tuple[float, ...]:
        """One bisection for each scale, all in the same runs: fidelity falls as boldness grows."""
        while True:
            bounds = [_bounds(seen, target) for seen in self._ssim]
            if all(high - low == 1 for low, high in bounds):
                return tuple(0.0 if low < 0 else RUNGS[low] for low, _ in bounds)
            rungs = [max((low + high) // 2, 0) for low, high in bounds]
            found = self._ssim_with([RUNGS[rung] for rung in rungs])
            for seen, rung, values in zip(self._ssim, rungs, found, strict=True):
                seen[rung] = values

    def _ssim_with(self, factors: Sequence[float]) -> list[Tensor]:
        """SSIM of all images with a factor a guidance scale, by scale."""
        grid = {"fast": Boldness((self.steps,), self.scales, (tuple(factors),))}
        trial = replace(self._base, classes={"fast": START}, boldness=grid)
        criterion = adaptive(trial, self._study.prediction, "fast", ", ".join(f"{factor:.2g}" for factor in factors))
        found: list[list[Tensor]] = [[] for _ in self.scales]
        for scenario in self._scenarios:
            values = self._study.measure(criterion, [scenario]).by_scale("ssim", len(self.scales))
            for scale, part in zip(scenario.guidance, values, strict=True):
                found[self.scales.index(scale)].append(part)
        return [torch.cat(parts) for parts in found]


def falling(factors: Sequence[float]) -> tuple[float, ...]:
    """Factors that never rise: neighbours that do are given their geometric mean (pool adjacent violators)."""
    pools: list[tuple[float, int]] = []
    for factor in factors:
        power, count = math.log2(max(factor, SMALLEST_FACTOR)), 1
        while pools and pools[-1][0] < power:
            before, number = pools.pop()
            power, count = (before * number + power * count) / (number + count), number + count
        pools.append((power, count))
    return tuple(
        0.0 if factor == 0.0 else 2.0**power
        for factor, power in zip(factors, (power for power, count in pools for _ in range(count)), strict=True)
    )


def _bounds(seen: dict[int, Tensor], target: tuple[float, float]) -> tuple[int, int]:
    """The highest rung known to meet the target (-1 for none), and the lowest known not to."""
    good = {rung: _meets(values, target) for rung, values in seen.items()}
    high = min((rung for rung, meets in good.items() if not meets), default=len(RUNGS))
    return max((rung for rung, meets in good.items() if meets and rung < high), default=-1), high


def _meets(ssim: Tensor, target: tuple[float, float]) -> bool:
    """Whether the mean and the worst are at least the target's."""
    mean, worst = target
    return bool(ssim.mean() >= mean and ssim.min() >= worst)
