"""When a sample must run the unconditional pass: the error of a predicted difference against a tolerance.

Host floats only; pure. Like the step-size control of an ODE solver: how fast the difference moved between the
last two full steps says how far the next prediction will be off, and what that does to the image.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from synerdiff.engine.calibration import FULL_TOLERANCE_STEPS, Calibration, Limits


@dataclass(frozen=True, slots=True)
class Path:
    """A sampler's walk through the noise levels: one value a step.

    ``alpha`` scales the signal, and sigma the noise (variance preserving: their squares add up to 1); ``lam`` is
    log(alpha / sigma), the time in which the difference is taken to move evenly.
    """

    alpha: tuple[float, ...]
    lam: tuple[float, ...]

    @property
    def steps(self) -> int:
        """Number of denoising steps."""
        return len(self.lam)

    def share(self, step: int) -> float:
        """How much of the remaining noise this step takes away (1 at the last step)."""
        if step + 1 >= self.steps:
            return 1.0
        return 1.0 - math.exp(min(0.0, self.lam[step] - self.lam[step + 1]))


def path_of(alpha: Sequence[float]) -> Path:
    """The path through the signal scales ``alpha``, each in (0, 1)."""
    sigma = (math.sqrt(max(1.0 - a * a, 1e-12)) for a in alpha)
    return Path(tuple(alpha), tuple(math.log(max(a, 1e-12) / s) for a, s in zip(alpha, sigma, strict=True)))


def predicted_error(calibration: Calibration, path: Path, step: int, last: int, speed: float, scale: float) -> float:
    """What skipping ``step`` adds to the error of the image, in arbitrary but steady units.

    ``speed`` is how fast the difference (root mean square, as noise) moved per unit of ``lam`` before the
    full step ``last``; ``scale`` the guidance scale. The error of the noise grows with the time since ``last``,
    and the sampler passes on the share that the step takes. What guidance and the noise level make of it are
    calibrated powers: (scale - 1) ** ``scale_power`` and (sigma / alpha) ** ``exponent``.
    """
    stale = abs(path.lam[step] - path.lam[last])
    weight = math.pow(abs(scale - 1.0), calibration.scale_power) * math.exp(-calibration.exponent * path.lam[step])
    return weight * speed * stale * path.share(step)


def must_run(
    limits: Limits, path: Path, step: int, last: int, scale: float, error: float, strictness: float = 1.0
) -> bool:
    """Whether the unconditional pass has to run at ``step`` under a class's ``limits``.

    ``last`` is the last full step, ``scale`` the guidance scale, ``error`` the predicted error of the skipped
    run if ``step`` joins it, ``strictness`` a factor on the tolerance.
    """
    if path.steps < limits.min_steps or step < limits.warm_up or step - last > limits.longest:
        return True
    if abs(path.lam[step] - path.lam[last]) > limits.stale:
        return True
    if step + 1 < path.steps and (scale - 1.0) * path.share(step) > limits.gain:
        return True
    tolerance = limits.tolerance * strictness * min(1.0, path.steps / FULL_TOLERANCE_STEPS)
    return not error <= tolerance


def extrapolation_share(calibration: Calibration, scale: float) -> float:
    """The share of the slope to carry on at a guidance ``scale``: linear between the calibrated scales."""
    points = calibration.extrapolation
    scales = [point[0] for point in points]
    right = bisect_right(scales, scale)
    if right == 0:
        return points[0][1]
    if right == len(points):
        return points[-1][1]
    (g0, k0), (g1, k1) = points[right - 1], points[right]
    return k0 + (k1 - k0) * (scale - g0) / (g1 - g0)
