"""Calibration: the predictor that comes closest, then the boldest limits that keep each class's fidelity.

The limits lie on one axis, boldness: tolerance, staleness and gain grow together from the starting limits.
Every calibration scenario has to meet the class's target by itself, so that few steps or a high guidance scale do not
hide behind the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from synerdiff.engine.calibration import Calibration, Limits
from synerdiff.engine.fidelity import Study
from synerdiff.engine.fidelity_criteria import adaptive, scaled
from synerdiff.engine.fidelity_run import Scenario, Studio

START = Limits(tolerance=0.04, longest=8, stale=1.1, gain=2.0)
BOLDNESS = tuple(2.0 ** (power / 4) for power in range(-8, 9))
TARGETS = {"balanced": (0.985, 0.94), "fast": (0.96, 0.88)}
"""Mean and worst SSIM on the calibration prompts: the floors with a margin for prompts not seen here."""
EXTRAPOLATIONS: tuple[tuple[tuple[float, float], ...], ...] = (
    ((0.0, 0.0),),
    ((0.0, 0.7), (5.0, 0.5), (7.5, 0.0)),
    ((0.0, 0.5),),
)
SCALES = (3.0, 5.0, 7.5)
SEED = 90_000
_NEVER = {"euler_a": 0.0, "lcm": 0.0}


def calibration_scenarios() -> list[Scenario]:
    """First and second order samplers, few and many steps, each over the guidance scales 3 to 7.5."""
    settings = (("dpmpp_2m", 25), ("ddim", 25), ("dpmpp_2m", 12), ("dpmpp_2m_karras", 25))
    return [Scenario(sampler, steps, SCALES, SEED) for sampler, steps in settings]


def calibrate(
    studio: Studio, scenarios: Sequence[Scenario] | None = None, tick: Callable[[str], None] = lambda what: None
) -> Calibration:
    """Calibrate a model on a studio's prompts. A class for which not even the most careful limits do never skips."""
    study = Study(studio, calibration_scenarios() if scenarios is None else scenarios, tick)
    base = Calibration(classes={}, samplers=_NEVER, model_hash=studio.model.model_hash)
    base = _closest_predictor(study, base)
    classes = {}
    for quality, target in TARGETS.items():
        boldness = _boldest(partial(_meets, study, base, target))
        if boldness is not None:
            classes[quality] = scaled(START, boldness)
    return replace(base, classes=classes)


def _closest_predictor(study: Study, base: Calibration) -> Calibration:
    """Reuse, two extrapolations, or dropping the difference: the best mean SSIM at the starting limits."""
    candidates = [replace(base, extrapolation=points) for points in EXTRAPOLATIONS]
    candidates.append(replace(base, carry=0.0))
    return max(candidates, key=lambda candidate: _mean_ssim(study, candidate))


def _mean_ssim(study: Study, candidate: Calibration) -> float:
    trial = replace(candidate, classes={"fast": START})
    scenarios = study.scenarios[:2]
    return study.measure(adaptive(trial, study.prediction, "fast", "trial"), scenarios).mean("ssim")


def _meets(study: Study, base: Calibration, target: tuple[float, float], factor: float) -> bool:
    trial = adaptive(
        replace(base, classes={"fast": scaled(START, factor)}), study.prediction, "fast", f"boldness {factor:.2f}"
    )
    mean, worst = target
    for scenario in study.scenarios:
        figures = study.measure(trial, [scenario])
        if figures.mean("ssim") < mean or figures.worst("ssim") < worst:
            return False
    return True


def _boldest(meets: Callable[[float], bool]) -> float | None:
    """The boldest rung that meets its target, by bisection (fidelity falls with boldness); None if none does."""
    low, high = -1, len(BOLDNESS)
    while high - low > 1:
        middle = (low + high) // 2
        if meets(BOLDNESS[middle]):
            low = middle
        else:
            high = middle
    return None if low < 0 else BOLDNESS[low]
