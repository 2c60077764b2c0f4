"""The feedback controller: load, filtered, sets the throughput threshold and the skip threshold once a second.

y = clip((outstanding - lo) / (hi - lo), 0, 1), where outstanding is the seconds of work the fleet has left, in units
of a lone job's time. A first-order filter smooths it, a dead band holds it still. The law is our own design.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from synerdiff.policy.errors import PolicyError


@dataclass(frozen=True, slots=True)
class ControllerConfig:
    """The law's constants: the load at which y leaves 0 (``lo``) and reaches 1 (``hi``), in lone jobs; the filter's
    time constant; and how far the filtered value must move before y follows."""

    lo: float = 0.75
    hi: float = 3.0
    filter_s: float = 4.0
    dead_band: float = 0.1

    def __post_init__(self) -> None:
        if not 0.0 <= self.lo < self.hi:
            raise PolicyError("lo", f"must be at least 0 and below hi; got lo {self.lo}, hi {self.hi}")
        if self.filter_s < 0.0 or not 0.0 <= self.dead_band < 1.0:
            raise PolicyError("dead_band", f"must be in [0, 1), and filter_s at least 0; got {self.dead_band}")


@dataclass(frozen=True, slots=True)
class ControllerState:
    """What the controller remembers: the filtered load and the y it last put out."""

    filtered: float = 0.0
    y: float = 0.0


def pressure(outstanding: float, config: ControllerConfig) -> float:
    """y before the filter: 0 below ``lo`` lone jobs of outstanding work, 1 above ``hi``."""
    return min(max((outstanding - config.lo) / (config.hi - config.lo), 0.0), 1.0)


def update(state: ControllerState, outstanding: float, elapsed_s: float, config: ControllerConfig) -> ControllerState:
    """One tick: ``outstanding`` lone jobs' worth of work, ``elapsed_s`` seconds after the last tick."""
    weight = 1.0 if config.filter_s == 0.0 else 1.0 - math.exp(-max(elapsed_s, 0.0) / config.filter_s)
    filtered = state.filtered + weight * (pressure(outstanding, config) - state.filtered)
    snapped = next((end for end in (0.0, 1.0) if abs(filtered - end) <= config.dead_band / 2), filtered)
    moved = abs(snapped - state.y) > config.dead_band or (snapped in (0.0, 1.0) and snapped != state.y)
    return ControllerState(filtered, snapped if moved else state.y)


def theta_in(band: tuple[float, float], y: float) -> float:
    """The throughput threshold for y: from the band's low end (decode soonest) to its high end (sustain most)."""
    low, high = band
    return low + y * (high - low)
