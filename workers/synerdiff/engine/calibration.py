"""What calibration found for one model: how far guidance may be predicted, per quality class; and its JSON."""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from synerdiff.protocol.errors import ModelError

FILE_NAME = "skip_calibration.json"
VERSION = 1
FULL_TOLERANCE_STEPS = 25
SMALLEST_FACTOR = 2.0**-6


@dataclass(frozen=True, slots=True)
class Limits:
    """When a quality class must run the unconditional pass (see :func:`synerdiff.engine.skip.must_run`).

    ``tolerance`` bounds the predicted error of a run of skipped steps, ``longest`` the steps in that run and
    ``stale`` how far log(alpha / sigma) may have moved since the last full step. ``gain`` bounds (guidance
    scale - 1) times the share of the remaining noise that a step takes: above it the sampler itself is near its
    limit of stability, and any change grows (the last step is free of it). Jobs of fewer than
    ``min_steps`` steps, and their first ``warm_up`` steps, never skip; below :data:`FULL_TOLERANCE_STEPS`
    steps the tolerance shrinks in proportion, since each error then has fewer steps left to be healed in.
    """

    tolerance: float
    longest: int
    stale: float = float("inf")
    gain: float = float("inf")
    warm_up: int = 1
    min_steps: int = 6

    def scaled(self, factor: float) -> Limits:
        """Limits that are bolder (``factor`` > 1) or more careful in error, staleness and gain at once."""
        root = factor**0.25
        return replace(self, tolerance=self.tolerance * factor, stale=self.stale * root, gain=self.gain * root)


@dataclass(frozen=True, slots=True)
class Boldness:
    """By what factor a class scales its limits: ``factors[i][j]`` at ``steps[i]`` and ``guidance[j]``, both ascending.

    Few steps and low guidance forgive more than the error estimate says, high guidance less, so each was measured.
    """

    steps: tuple[int, ...] = (25,)
    guidance: tuple[float, ...] = (5.0,)
    factors: tuple[tuple[float, ...], ...] = ((1.0,),)

    def at(self, steps: int, scale: float) -> float:
        """The factor between the grid's points, in powers; past the highest guidance it falls with its square."""
        x = _place([math.log(count) for count in self.steps], math.log(max(steps, 1)))
        y = _place(self.guidance, scale)
        powers = [_between([math.log2(max(f, SMALLEST_FACTOR)) for f in line], y) for line in self.factors]
        return float(2.0 ** _between(powers, x)) * min(1.0, self.guidance[-1] / max(scale, 1e-6)) ** 2


def _place(points: Sequence[float], value: float) -> float:
    """Where ``value`` lies among ascending points: 1.5 is half way from the second to the third; ends hold."""
    right = bisect_right(points, value)
    if right == 0:
        return 0.0
    if right == len(points):
        return float(right - 1)
    return right - 1 + (value - points[right - 1]) / (points[right] - points[right - 1])


def _between(values: Sequence[float], place: float) -> float:
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (place - low) * (values[high] - values[low])


@dataclass(frozen=True, slots=True)
class Calibration:
    """The skip criterion's numbers for one model.

    ``classes`` holds each class's limits and ``boldness`` how they scale with steps and guidance (1 where a class is
    not listed).
    ``exponent`` and ``scale_power`` say how the effect of an error on the image falls with the noise level and
    grows with the guidance scale (see :func:`synerdiff.engine.skip.predicted_error`). ``first_speed`` stands
    in for a speed after the first full step: how fast the difference moves, in its own size per unit of
    log-signal-to-noise. ``extrapolation`` lists (guidance scale, share): the share of the last difference's slope
    that a prediction carries on, interpolated between scales; 0 is plain reuse. ``carry`` scales the predicted
    difference (1 to use it, 0 to drop guidance at a skipped step). ``samplers`` multiplies the tolerance of a
    sampler (1 where it is not listed, 0 to never skip). ``model_hash`` is empty for the defaults.
    """

    classes: Mapping[str, Limits]
    boldness: Mapping[str, Boldness] = field(default_factory=dict)
    exponent: float = 0.5
    scale_power: float = 0.25
    first_speed: float = 0.7
    extrapolation: tuple[tuple[float, float], ...] = ((0.0, 0.0),)
    carry: float = 1.0
    samplers: Mapping[str, float] = field(default_factory=dict)
    model_hash: str = ""

    def limits(self, quality: str, steps: int, scale: float) -> Limits | None:
        """The class's limits for a job's steps and guidance scale; None for a class that never skips."""
        limits, boldness = self.classes.get(quality), self.boldness.get(quality)
        return limits if limits is None or boldness is None else limits.scaled(boldness.at(steps, scale))


def default_calibration() -> Calibration:
    """For a model that nobody calibrated: every other step at most, from the third on, in jobs of 12 steps or more.

    Reuse on every other step was safe on every model measured so far (docs/algorithm.md), at a guidance scale
    of 7.5 as well, so no error estimate is asked for: the tolerance is infinite.
    """
    every_other = Limits(tolerance=float("inf"), longest=1, warm_up=3, min_steps=12)
    return Calibration(classes={"balanced": every_other, "fast": every_other}, samplers={"lcm": 0.0, "euler_a": 0.0})


def encode(calibration: Calibration) -> str:
    """The calibration as a JSON document."""
    return json.dumps({"version": VERSION, **asdict(calibration)}, indent=2, sort_keys=True) + "\n"


def decode(document: str) -> Calibration:
    """Read what :func:`encode` wrote. Raises :class:`ModelError` naming what is wrong."""
    try:
        fields: dict[str, Any] = json.loads(document)
        if fields.pop("version", None) != VERSION:
            raise ValueError(f"version must be {VERSION}")
        fields["classes"] = {quality: Limits(**limits) for quality, limits in fields["classes"].items()}
        fields["boldness"] = {quality: _boldness(given) for quality, given in fields.get("boldness", {}).items()}
        fields["extrapolation"] = tuple((float(g), float(share)) for g, share in fields["extrapolation"])
        calibration = Calibration(**fields)
        _check(calibration)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{FILE_NAME}: {error}; calibrate again with `synerdiff fidelity --calibrate`") from error
    return calibration


def _boldness(given: Mapping[str, Any]) -> Boldness:
    factors = tuple(tuple(float(factor) for factor in line) for line in given["factors"])
    return Boldness(tuple(map(int, given["steps"])), tuple(map(float, given["guidance"])), factors)


def _check_boldness(quality: str, boldness: Boldness) -> None:
    for name, points in (("steps", boldness.steps), ("guidance", boldness.guidance)):
        if not points or points[0] <= 0 or any(after <= before for before, after in pairwise(points)):
            raise ValueError(f"{quality}: boldness.{name} must ascend from above 0")
    shape = [len(line) for line in boldness.factors]
    if shape != [len(boldness.guidance)] * len(boldness.steps):
        raise ValueError(
            f"{quality}: boldness.factors must have a line a number of steps and a column a guidance scale"
        )
    if not all(0.0 <= factor < math.inf for line in boldness.factors for factor in line):
        raise ValueError(f"{quality}: boldness.factors must be finite and not below 0")


def _check(calibration: Calibration) -> None:
    if "exact" in calibration.classes:
        raise ValueError("the class exact never skips")
    for quality, limits in calibration.classes.items():
        if min(limits.tolerance, limits.longest, limits.stale, limits.gain, limits.min_steps, limits.warm_up - 1) < 0:
            raise ValueError(f"{quality}: no limit may be below 0, and warm_up not below 1")
    for quality, boldness in calibration.boldness.items():
        _check_boldness(quality, boldness)
    if not calibration.extrapolation:
        raise ValueError("extrapolation must list at least one (guidance scale, share)")


def load_calibration(directory: Path, model_hash: str) -> Calibration:
    """The calibration beside the checkpoint in ``directory``, or the defaults where there is none for this hash."""
    path = directory / FILE_NAME
    if not path.is_file():
        return default_calibration()
    calibration = decode(path.read_text(encoding="utf-8"))
    return calibration if calibration.model_hash == model_hash else default_calibration()
