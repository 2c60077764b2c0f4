"""What calibration found for one model: how far guidance may be predicted, per quality class; and its JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from synerdiff.protocol.errors import ModelError

FILE_NAME = "skip_calibration.json"
VERSION = 1
FULL_TOLERANCE_STEPS = 25


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


@dataclass(frozen=True, slots=True)
class Calibration:
    """The skip criterion's numbers for one model.

    ``exponent`` and ``scale_power`` say how the effect of an error on the image falls with the noise level and
    grows with the guidance scale (see :func:`synerdiff.engine.skip.predicted_error`). ``first_speed`` stands
    in for a speed after the first full step: how fast the difference moves, in its own size per unit of
    log-signal-to-noise. ``extrapolation`` lists (guidance scale, share): the share of the last difference's slope
    that a prediction carries on, interpolated between scales; 0 is plain reuse. ``carry`` scales the predicted
    difference (1 to use it, 0 to drop guidance at a skipped step). ``samplers`` multiplies the tolerance of a
    sampler (1 where it is not listed, 0 to never skip). ``model_hash`` is empty for the defaults.
    """

    classes: Mapping[str, Limits]
    exponent: float = 0.5
    scale_power: float = 0.25
    first_speed: float = 0.7
    extrapolation: tuple[tuple[float, float], ...] = ((0.0, 0.0),)
    carry: float = 1.0
    samplers: Mapping[str, float] = field(default_factory=dict)
    model_hash: str = ""

    def limits(self, quality: str) -> Limits | None:
        """The class's limits; None for a class that never skips."""
        return self.classes.get(quality)


def default_calibration() -> Calibration:
    """For a model that nobody calibrated: every other step at most, from the third on, in jobs of 12 steps or more.

    Reuse on every other step was safe on every model measured so far (docs/skip-cfg.md), at a guidance scale
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
        fields["extrapolation"] = tuple((float(g), float(share)) for g, share in fields["extrapolation"])
        calibration = Calibration(**fields)
        _check(calibration)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{FILE_NAME}: {error}; calibrate again with `synerdiff fidelity --calibrate`") from error
    return calibration


def _check(calibration: Calibration) -> None:
    if "exact" in calibration.classes:
        raise ValueError("the class exact never skips")
    for quality, limits in calibration.classes.items():
        if min(limits.tolerance, limits.longest, limits.stale, limits.gain, limits.min_steps, limits.warm_up - 1) < 0:
            raise ValueError(f"{quality}: no limit may be below 0, and warm_up not below 1")
    if not calibration.extrapolation:
        raise ValueError("extrapolation must list at least one (guidance scale, share)")


def load_calibration(directory: Path, model_hash: str) -> Calibration:
    """The calibration beside the checkpoint in ``directory``, or the defaults where there is none for this hash."""
    path = directory / FILE_NAME
    if not path.is_file():
        return default_calibration()
    calibration = decode(path.read_text(encoding="utf-8"))
    return calibration if calibration.model_hash == model_hash else default_calibration()
