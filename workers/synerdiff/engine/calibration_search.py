"""Calibration: the predictor that comes closest, then the boldest limits that keep each class's fidelity.

How bold is one number, by which tolerance, staleness and gain grow together, found by bisection for every number of
steps and guidance scale of a grid by itself: few steps or a high guidance scale can't hide behind the rest, and what is
easy isn't held back by what is hard. All scales of a number of steps are searched in the same runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from synerdiff.engine.calibration import Boldness, Calibration, Limits
from synerdiff.engine.fidelity import Study
from synerdiff.engine.fidelity_criteria import adaptive
from synerdiff.engine.fidelity_run import Scenario, Studio

START = Limits(tolerance=0.04, longest=12, stale=1.1, gain=2.0)
RUNGS = tuple(2.0 ** (power / 2) for power in range(-5, 10))
"""Fifteen factors, so that four trials find one."""
TARGETS = {"balanced": (0.985, 0.95), "fast": (0.962, 0.88)}
"""Mean and worst SSIM on the calibration prompts: the floors with a margin for prompts not seen here, of which there
are only a few at each point of the grid."""
EXTRAPOLATIONS: tuple[tuple[tuple[float, float], ...], ...] = (
    ((0.0, 0.0),),
    ((0.0, 0.7), (5.0, 0.5), (7.5, 0.0)),
    ((0.0, 0.5),),
)
STEPS = (8, 20, 50)
SCALES = (1.5, 3.0, 5.0, 7.5, 10.0)
SEED = 90_000
_NEVER = {"euler_a": 0.0, "lcm": 0.0}


def calibration_scenarios() -> list[Scenario]:
    """The default sampler, few to many steps, the prompts taking turns at guidance scales 1.5 to 10."""
    return [Scenario("dpmpp_2m", steps, SCALES, SEED) for steps in STEPS]


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
    for quality, target in TARGETS.items():
        found = _grid(study, base, target)
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
    middle = study.scenarios[len(study.scenarios) // 2]
    return study.measure(adaptive(trial, study.prediction, "fast", "trial"), [middle]).mean("ssim")


def _grid(study: Study, base: Calibration, target: tuple[float, float]) -> Boldness:
    scenarios = sorted(study.scenarios, key=lambda scenario: scenario.steps)
    scales = tuple(sorted(scenarios[0].guidance))
    lines = [_line(study, base, target, scenario) for scenario in scenarios]
    return Boldness(tuple(scenario.steps for scenario in scenarios), scales, tuple(lines))


def _line(study: Study, base: Calibration, target: tuple[float, float], scenario: Scenario) -> tuple[float, ...]:
    """The boldest rung that meets the target at each guidance scale of a scenario, ascending; 0 where none does.

    One bisection for each scale, all in the same runs: fidelity falls as boldness grows.
    """
    scales = sorted(scenario.guidance)
    low, high = [-1] * len(scales), [len(RUNGS)] * len(scales)
    while any(top - bottom > 1 for bottom, top in zip(low, high, strict=True)):
        middle = [max((bottom + top) // 2, 0) for bottom, top in zip(low, high, strict=True)]
        good = _meets(study, base, target, scenario, [RUNGS[rung] for rung in middle])
        for index, rung in enumerate(middle):
            if high[index] - low[index] > 1:
                low[index], high[index] = (rung, high[index]) if good[index] else (low[index], rung)
    return tuple(0.0 if rung < 0 else RUNGS[rung] for rung in low)


def _meets(
    study: Study, base: Calibration, target: tuple[float, float], scenario: Scenario, factors: Sequence[float]
) -> list[bool]:
    """Whether each guidance scale, ascending, meets the target with its factor."""
    mean, worst = target
    scales = tuple(sorted(scenario.guidance))
    grid = Boldness((scenario.steps,), scales, (tuple(factors),))
    trial = replace(base, classes={"fast": START}, boldness={"fast": grid})
    setting = ", ".join(f"{factor:.2g}" for factor in factors)
    figures = study.measure(adaptive(trial, study.prediction, "fast", f"boldness {setting}"), [scenario])
    by_scale = dict(zip(scenario.guidance, figures.by_scale("ssim", len(scenario.guidance)), strict=True))
    return [bool(by_scale[scale].mean() >= mean and by_scale[scale].min() >= worst) for scale in scales]
