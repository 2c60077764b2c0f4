"""Skip-CFG: guidance whose unconditional pass runs only where it is needed.

With guidance a step costs two UNet rows: the prediction with the prompt (``cond``) and the one without
(``uncond``). What guidance adds is their difference, and that changes slowly: a skipped step predicts it from
the last two steps that ran both passes. Differences are kept as differences of *noise* predictions, which
hold longer than those of v- or x_0-predictions (docs/algorithm.md has the measurements).

A sample's life: ``begin``; then at each step ``skips`` (before the UNet call, host floats only) and
``combine`` (after it, for the whole batch). Adaptive Guidance (Castillo et al., arXiv 2312.12487) drops the
pass for good or regresses it, FasterCache (Lv et al., arXiv 2410.19355) reuses it at fixed intervals; the
criterion here, a step-size controller for each sample, is our own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor

from synerdiff.engine.calibration import Calibration, Limits
from synerdiff.engine.executors import HostCopies, HostCopy, to_device
from synerdiff.engine.samplers import V_PREDICTION
from synerdiff.engine.schedule import Row, Table
from synerdiff.engine.skip import Path, extrapolation_share, must_run, path_of, predicted_error

_SIGMA_SAMPLERS = frozenset({"euler", "euler_a"})


class Measured:
    """What a full step measured of its samples, on its way to the host: a row of distances, and one of cosines where
    predictions are compared. Nobody waits for it before somebody asks."""

    def __init__(self, rows: HostCopy) -> None:
        self._rows = rows
        self._values: list[list[float]] | None = None

    def of(self, place: int) -> tuple[float, float]:
        """Distance and cosine (0 without one) of the sample at ``place``."""
        if self._values is None:
            self._values = self._rows.get().tolist()
        distances, *cosines = self._values
        return distances[place], cosines[0][place] if cosines else 0.0


@dataclass(frozen=True, slots=True)
class Reading:
    """A sample's part of it; ``factor`` times the distance over ``gap`` is its speed."""

    measured: Measured
    place: int
    factor: float
    gap: float


@dataclass(slots=True)
class GuidanceState:
    """One sample's guidance: the differences at its last two full steps and a few host values.

    ``last`` and ``before`` are ``[C, h, w]`` differences of noise predictions at the steps ``last_step`` and
    ``before_step`` (-1 where there is none). ``speed`` is their root mean square distance per unit of
    log-signal-to-noise, ``agreement`` the cosine similarity of the two predictions at ``last_step`` (0 unless they
    are compared), and ``error`` the predicted error of the steps skipped since. ``step`` counts the steps done.
    ``reading`` is what the device may still be at: speed and agreement are those before it until :meth:`settle`.
    """

    scale: float
    quality: str
    sampler: str
    path: Path
    limits: Limits | None = None
    replay: frozenset[int] | None = None
    step: int = 0
    skipped: list[int] = field(default_factory=list)
    last: Tensor | None = None
    before: Tensor | None = None
    last_step: int = -1
    before_step: int = -1
    speed: float = 0.0
    agreement: float = 0.0
    error: float = 0.0
    reading: Reading | None = None

    def settle(self) -> None:
        """Take over what the last full step measured; waits until the device is past it."""
        if self.reading is not None:
            distance, self.agreement = self.reading.measured.of(self.reading.place)
            self.speed = self.reading.factor * distance / self.reading.gap
            self.reading = None


@lru_cache(maxsize=512)
def _path(alpha: tuple[float, ...]) -> Path:
    return path_of(alpha)


def _signal(table: Table) -> tuple[float, ...]:
    """alpha at each step of a sampler's table."""
    column = table.values[Row.A].double()
    if table.sampler in _SIGMA_SAMPLERS:
        column = 1.0 / (column**2 + 1.0).sqrt()
    return tuple(column.tolist())


class Guidance:
    """Skip-CFG for one model: its calibration and prediction type (``epsilon`` or ``v_prediction``).

    ``compares``: the two predictions of a full step are compared as well, for criteria that go by their agreement.
    """

    def __init__(self, calibration: Calibration, prediction: str, *, compares: bool = False) -> None:
        self.calibration = calibration
        self._compares = compares
        self._copies: HostCopies | None = None
        self._velocity = prediction == V_PREDICTION

    def begin(
        self, table: Table, guidance_scale: float, quality: str, replay: Iterable[int] | None = None
    ) -> GuidanceState:
        """The state of a new sample; ``replay`` lists the steps that skip, and all others run."""
        steps = None if replay is None else frozenset(replay)
        path = _path(_signal(table))
        limits = self.calibration.limits(quality, path.steps, guidance_scale)
        return GuidanceState(guidance_scale, quality, table.sampler, path, limits, steps)

    def eligible(self, state: GuidanceState) -> bool:
        """Whether a settled sample may skip the unconditional pass at its next step, were it allowed to."""
        limits = state.limits
        if limits is None or state.last_step < 0:
            return False
        strictness = self.calibration.samplers.get(state.sampler, 1.0)
        if strictness == 0.0:
            return False
        error = state.error + self._step_error(state)
        return not must_run(limits, state.path, state.step, state.last_step, state.scale, error, strictness)

    def skips(self, state: GuidanceState, allowed: bool) -> bool:
        """Decide the next step: True skips the unconditional pass.

        ``fast`` goes by the sample alone, ``balanced`` also needs the plan's allowance, ``exact`` never
        skips, and a replay does as it did. What the last full step measured is asked for in any case: so the host
        is never further ahead of the device than that.
        """
        state.settle()
        if state.replay is not None:
            return state.step in state.replay and state.last_step >= 0
        return (allowed or state.quality == "fast") and self.eligible(state)

    def _step_error(self, state: GuidanceState) -> float:
        return predicted_error(self.calibration, state.path, state.step, state.last_step, state.speed, state.scale)

    def combine(self, cond: Tensor, uncond: Tensor, states: Sequence[GuidanceState], ran: Sequence[bool]) -> Tensor:
        """The guided predictions ``[N, C, h, w]``; each state moves on by one step.

        ``cond`` has a row for every state. ``uncond`` has one for every state whose ``ran`` is True, in
        order. A row that ran is bitwise ``uncond + scale * (cond - uncond)``, as in diffusers' pipelines.
        """
        full = [i for i, run in enumerate(ran) if run]
        short = [i for i, run in enumerate(ran) if not run]
        if not short:
            return self._run(cond, uncond, states)
        if not full:
            return self._skip(cond, states)
        sorted_cond = cond.index_select(0, _index([*full, *short], cond))
        guided = torch.cat(
            [
                self._run(sorted_cond[: len(full)], uncond, [states[i] for i in full]),
                self._skip(sorted_cond[len(full) :], [states[i] for i in short]),
            ]
        )
        places = {position: place for place, position in enumerate([*full, *short])}
        return guided.index_select(0, _index([places[i] for i in range(len(states))], cond))

    def _run(self, cond: Tensor, uncond: Tensor, states: Sequence[GuidanceState]) -> Tensor:
        difference = cond - uncond
        self._observe(cond, uncond, difference, states)
        return uncond + _column([state.scale for state in states], cond) * difference

    def _skip(self, cond: Tensor, states: Sequence[GuidanceState]) -> Tensor:
        """cond + (scale - 1) * the predicted difference, which is the formula above with uncond eliminated."""
        guided = cond + _column([state.scale - 1.0 for state in states], cond) * self.predict(cond, states)
        for state in states:
            state.error += self._step_error(state)
            state.skipped.append(state.step)
            state.step += 1
        return guided

    def predict(self, cond: Tensor, states: Sequence[GuidanceState]) -> Tensor:
        """The differences at the next step, as the model would put them out; ``cond`` has a row for each state.

        As noise it is the last difference plus a share of its slope.
        """
        noise = torch.stack([_last(state) for state in states])
        slopes = [self._slope_share(state) for state in states]
        if any(slopes):
            before = torch.stack([_last(state) if state.before is None else state.before for state in states])
            noise = noise + _column(slopes, cond) * (noise - before)
        return noise * _column([self.calibration.carry / self._unit(state, state.step) for state in states], cond)

    def _unit(self, state: GuidanceState, step: int) -> float:
        """What turns a difference of the model's outputs into one of noise: alpha for v, 1 for epsilon."""
        return state.path.alpha[step] if self._velocity else 1.0

    def _slope_share(self, state: GuidanceState) -> float:
        """How much of the distance between its last two differences is added to the last one."""
        share = extrapolation_share(self.calibration, state.scale)
        if state.before is None or share == 0.0:
            return 0.0
        lam = state.path.lam
        ahead = (lam[state.step] - lam[state.last_step]) / (lam[state.last_step] - lam[state.before_step])
        return share * min(ahead, 1.0)

    def _observe(self, cond: Tensor, uncond: Tensor, difference: Tensor, states: Sequence[GuidanceState]) -> None:
        """Remember the differences, and measure how they moved: one small transfer for the batch, not waited for."""
        if any(state.quality != "exact" or state.replay for state in states):
            noise = difference
            if self._velocity:
                noise = difference * _column([self._unit(state, state.step) for state in states], difference)
            blank = noise.new_zeros(noise.shape[1:])
            past = torch.stack([blank if state.last is None else state.last for state in states])
            measured = [(noise - past).flatten(1).square_().mean(dim=1).sqrt_()]
            if self._compares:
                measured.append(torch.cosine_similarity(cond.flatten(1), uncond.flatten(1), dim=1))
            rows = Measured(self._copy(torch.stack(measured)))
            for place, (state, difference) in enumerate(zip(states, noise.unbind(), strict=True)):
                state.reading = Reading(rows, place, *_speed_of(state, self.calibration.first_speed))
                _remember(state, difference)
        for state in states:
            state.step += 1

    def _copy(self, rows: Tensor) -> HostCopy:
        if self._copies is None:
            self._copies = HostCopies(rows.device)
        return self._copies.start(rows)


def _last(state: GuidanceState) -> Tensor:
    assert state.last is not None, "a sample skips after a full step"
    return state.last


def _index(positions: Sequence[int], like: Tensor) -> Tensor:
    return to_device(torch.tensor(positions), like.device)


def _speed_of(state: GuidanceState, first_speed: float) -> tuple[float, float]:
    """Factor and gap between the distance to the last difference and the speed."""
    if state.last is None:
        return first_speed, 1.0  # the distance to zero is the difference's own size
    return 1.0, max(abs(state.path.lam[state.step] - state.path.lam[state.last_step]), 1e-6)


def _remember(state: GuidanceState, difference: Tensor) -> None:
    state.before, state.before_step = state.last, state.last_step
    state.last, state.last_step, state.error = difference, state.step, 0.0


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    column = to_device(torch.tensor(values, dtype=like.dtype), like.device)
    return column.view(-1, *[1] * (like.ndim - 1))
