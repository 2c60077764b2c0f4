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


@dataclass(frozen=True, slots=True)
class Limits:
    """When a quality class must run the unconditional pass (see :func:`synerdiff.engine.skip.must_run`).

    ``tolerance`` bounds the predicted error of a run of skipped steps; ``longest`` bounds the steps in that
    run. Jobs of fewer than ``min_steps`` steps, and their first ``warm_up`` steps, never skip.
    """

    tolerance: float
    longest: int
    warm_up: int = 2
    min_steps: int = 8


@dataclass(frozen=True, slots=True)
class Calibration:
    """The skip criterion's numbers for one model.

    ``exponent`` says how the effect of an error on the image falls with the noise level. ``extrapolation``
    lists (guidance scale, share): the share of the last difference's slope that a prediction carries on,
    interpolated between scales; 0 is plain reuse. ``samplers`` multiplies the tolerance of a sampler (1
    where it is not listed, 0 to never skip). ``model_hash`` is empty for the defaults.
    """

    classes: Mapping[str, Limits]
    exponent: float = 0.0
    extrapolation: tuple[tuple[float, float], ...] = ((0.0, 0.0),)
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
        if not limits.tolerance >= 0 or limits.longest < 0 or limits.warm_up < 1 or limits.min_steps < 0:
            raise ValueError(f"{quality}: tolerance, longest and min_steps must be at least 0 and warm_up at least 1")
    if not calibration.extrapolation:
        raise ValueError("extrapolation must list at least one (guidance scale, share)")


def load_calibration(directory: Path, model_hash: str) -> Calibration:
    """The calibration beside the checkpoint in ``directory``, or the defaults where there is none for this hash."""
    path = directory / FILE_NAME
    if not path.is_file():
        return default_calibration()
    calibration = decode(path.read_text(encoding="utf-8"))
    return calibration if calibration.model_hash == model_hash else default_calibration()
