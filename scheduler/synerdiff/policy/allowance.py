"""The skip allowance: how many jobs must be in the system before ``balanced`` skips its unconditional passes.

A sample *may* skip where the criterion calibrated for its class says so; this decides whether it *does*. The class's
limits hold in either case, so the allowance is about speed alone: it costs fidelity within the class, and buys time.
"""

from __future__ import annotations

from typing import Literal

from synerdiff.policy.cost import CostModel
from synerdiff.policy.errors import PolicyError

SkipFrom = Literal["start", "load"]
"""``start``: from the first job on, where that shortens a step. ``load``: from half the batch cap on when idle, and
fewer as the load grows."""
WORTH = 0.02
"""Share of a step that skipping must save to count: less is within what profiles spread."""


def idle_threshold(cost: CostModel, batch_cap: int, skip_from: SkipFrom = "start") -> int:
    """Jobs in the system up to which ``balanced`` runs every row while the fleet is idle; at most half the cap."""
    check_skip_from(skip_from)
    half = batch_cap // 2
    return half if skip_from == "load" else next((n for n in range(half) if shortens(cost, n + 1)), half)


def shortens(cost: CostModel, samples: int) -> bool:
    """Whether a UNet call of ``samples`` samples gets shorter when all of them skip, by this profile."""
    return bool(cost.unet(samples) <= (1.0 - WORTH) * cost.unet_of(samples))


def skip_threshold(idle: int, y: float) -> int:
    """The threshold under the controller's ``y``: ``idle`` jobs when idle, none under load."""
    return round((1.0 - y) * idle)


def check_skip_from(given: str) -> SkipFrom:
    """Refuse what is neither ``start`` nor ``load``."""
    if given == "start":
        return "start"
    if given == "load":
        return "load"
    raise PolicyError("skip_from", f"must be start or load; got {given!r:.40}")
