"""The criteria that a fidelity study compares: what the literature offers, simple rules, and our own.

Each family is a curve, from careful to bold. All of them choose steps for each sample from what is known before
the UNet call, and predict a skipped step's difference by dropping it, reusing the last, or extrapolating.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from synerdiff.engine.calibration import Calibration
from synerdiff.engine.fidelity_run import Criterion
from synerdiff.engine.guidance import Guidance, GuidanceState

OURS = "adaptive refresh (ours)"
_NOTHING = Calibration(classes={})
_UNBOUND = 10_000


class Dropping(Guidance):
    """A skipped step has no guidance: its difference is taken as zero."""

    def predict(self, cond: Tensor, states: Sequence[GuidanceState]) -> Tensor:
        """Zeros in the shape of ``cond``."""
        return torch.zeros_like(cond)


def full_guidance(prediction: str) -> Criterion:
    """The reference: every step runs both passes."""
    return Criterion("full guidance", "", Guidance(_NOTHING, prediction), lambda state: False, "exact")


def no_guidance(prediction: str) -> Criterion:
    """The other end: no step runs the unconditional pass."""
    return Criterion("no guidance", "", Dropping(_NOTHING, prediction), lambda state: True)


def adaptive(calibration: Calibration, prediction: str, quality: str, setting: str, name: str = OURS) -> Criterion:
    """A class of a calibration, with the allowance always given."""
    guidance = Guidance(calibration, prediction)
    return Criterion(name, setting, guidance, lambda state: guidance.skips(state, allowed=True), quality)


def baselines(calibration: Calibration, prediction: str) -> list[Criterion]:
    """Every family except LinearAG and our own; ``calibration`` gives the extrapolation its shares."""
    drop, reuse = (kind(_NOTHING, prediction, compares=True) for kind in (Dropping, Guidance))
    extrapolate = Guidance(replace(calibration, classes={}), prediction)
    return [
        *(_of("last fraction, dropped", f"{f:.0%}", drop, _last(f)) for f in (0.25, 0.5, 0.75)),
        *(_of("last fraction, reused", f"{f:.0%}", reuse, _last(f)) for f in (0.25, 0.5, 0.75)),
        *(_of("every k-th step full, dropped", f"k = {k}", drop, _every(k)) for k in (2, 3)),
        *(_of("every k-th step full, reused", f"k = {k}", reuse, _every(k)) for k in (2, 3, 4, 5, 6)),
        *(_of("every k-th step full, extrapolated", f"k = {k}", extrapolate, _every(k)) for k in (2, 3, 4, 5, 6)),
        *(_of("guidance interval", f"{a:.0%} to {b:.0%}", drop, _outside(a, b)) for a, b in _INTERVALS),
        *(_of("cosine threshold, dropped (AG)", f"{c:g}", drop, _agreeing(c, None)) for c in (0.99, 0.97, 0.9)),
        *(_of("cosine threshold, reused", f"{c:g}", reuse, _agreeing(c, 4)) for c in (0.99, 0.95, 0.8, 0.4)),
        *(_of("log-SNR interval, extrapolated", f"{s:g}", extrapolate, _clock(s)) for s in (0.5, 0.75, 1.0, 1.25)),
    ]


_INTERVALS = ((0.0, 0.75), (0.1, 0.7), (0.2, 0.6))


def _of(name: str, setting: str, guidance: Guidance, skips: Callable[[GuidanceState], bool]) -> Criterion:
    return Criterion(name, setting, guidance, skips)


def _last(fraction: float) -> Callable[[GuidanceState], bool]:
    return lambda state: state.step > 0 and state.step >= round(state.path.steps * (1 - fraction))


def _every(k: int) -> Callable[[GuidanceState], bool]:
    return lambda state: state.step % k != 0


def _outside(start: float, stop: float) -> Callable[[GuidanceState], bool]:
    """Guidance in a middle interval of the steps alone (Kynkäänniemi et al., arXiv 2404.07724)."""
    return lambda state: not start <= state.step / state.path.steps < stop


def _agreeing(cosine: float, refresh: int | None) -> Callable[[GuidanceState], bool]:
    """Skip while the predictions agreed at the last full step: for good, or refreshed every ``refresh`` steps."""
    longest = _UNBOUND if refresh is None else refresh - 1

    def skips(state: GuidanceState) -> bool:
        return state.last_step >= 0 and state.agreement >= cosine and state.step - state.last_step <= longest

    return skips


def _clock(stale: float) -> Callable[[GuidanceState], bool]:
    """The same limit of staleness for every sample and guidance scale: ours without its error estimate."""

    def skips(state: GuidanceState) -> bool:
        lam = state.path.lam
        return state.last_step >= 0 and abs(lam[state.step] - lam[state.last_step]) <= stale

    return skips
