"""Noise schedules as tables: every number a sampler needs at each of its steps, computed once.

The timesteps and sigmas come from diffusers' scheduler classes, so that they are the pipeline's own; the
coefficients repeat diffusers' float32 expressions in their order, so that the arithmetic is the pipeline's
own too. A table has one column a step; samples at different steps of different tables sit in one batch by
gathering one column each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
)

from synerdiff.protocol.errors import FieldError, InvalidJob

_DDIM: Any = DDIMScheduler
_EULER: Any = EulerDiscreteScheduler
_EULER_A: Any = EulerAncestralDiscreteScheduler
_DPMPP: Any = DPMSolverMultistepScheduler
_LCM: Any = LCMScheduler

STOCHASTIC = frozenset({"euler_a", "lcm"})
MULTISTEP = frozenset({"dpmpp_2m", "dpmpp_2m_karras"})


class Row(IntEnum):
    """What each row of a table holds; a sampler's update knows the rest by number (``A`` to ``F``)."""

    TIMESTEP = 0
    DIVISOR = 1
    A = 2
    B = 3
    C = 4
    D = 5
    E = 6
    F = 7


@dataclass(frozen=True, slots=True)
class Table:
    """One sampler with one number of steps: ``values`` is ``[len(Row), steps]`` float32 on the CPU.

    ``init_sigma`` scales the first noise (0-dim tensor, as the pipeline multiplies it). ``steps`` may differ
    from the number asked for where diffusers' own rounding does that.
    """

    sampler: str
    values: torch.Tensor
    init_sigma: torch.Tensor

    @property
    def steps(self) -> int:
        """Number of UNet calls the sampler makes."""
        return self.values.shape[1]


def _rows(timesteps: torch.Tensor, *columns: torch.Tensor | None) -> torch.Tensor:
    values = torch.zeros(len(Row), timesteps.shape[0])
    values[Row.TIMESTEP] = timesteps.float()
    values[Row.DIVISOR] = 1.0
    for row, column in zip(list(Row)[1:], columns, strict=False):
        if column is not None:
            values[row] = column
    return values


def _ddim(config: Mapping[str, Any], steps: int) -> Table:
    """A, B = sqrt(alpha_t), sqrt(1 - alpha_t); C, D = sqrt(alpha_prev), sqrt(1 - alpha_prev)."""
    scheduler = _DDIM.from_config(config, clip_sample=False)
    scheduler.set_timesteps(steps)
    timesteps = scheduler.timesteps
    previous = timesteps - scheduler.config.num_train_timesteps // steps
    alpha = scheduler.alphas_cumprod[timesteps]
    alpha_prev = torch.where(
        previous >= 0, scheduler.alphas_cumprod[previous.clamp(min=0)], scheduler.final_alpha_cumprod
    )
    values = _rows(timesteps, None, alpha**0.5, (1 - alpha) ** 0.5, alpha_prev**0.5, (1 - alpha_prev) ** 0.5)
    return Table("ddim", values, torch.tensor(1.0))


def _sigma_rows(scheduler: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    sigmas = scheduler.sigmas
    now, following = sigmas[:-1], sigmas[1:]
    return now, following, (now**2 + 1) ** 0.5


def _euler(config: Mapping[str, Any], steps: int) -> Table:
    """A = sigma, B = the step in sigma, C and D = what a v-prediction needs of sigma."""
    scheduler = _EULER.from_config(config)
    scheduler.set_timesteps(steps)
    sigma, following, divisor = _sigma_rows(scheduler)
    values = _rows(scheduler.timesteps, divisor, sigma, following - sigma, -sigma / (sigma**2 + 1) ** 0.5, sigma**2 + 1)
    return Table("euler", values, torch.as_tensor(scheduler.init_noise_sigma))


def _euler_a(config: Mapping[str, Any], steps: int) -> Table:
    """As Euler, stepping down to sigma_down; E = sigma_up, the scale of the fresh noise."""
    scheduler = _EULER_A.from_config(config)
    scheduler.set_timesteps(steps)
    sigma, following, divisor = _sigma_rows(scheduler)
    up = (following**2 * (sigma**2 - following**2) / sigma**2) ** 0.5
    down = (following**2 - up**2) ** 0.5
    values = _rows(scheduler.timesteps, divisor, sigma, down - sigma, -sigma / (sigma**2 + 1) ** 0.5, sigma**2 + 1, up)
    return Table("euler_a", values, torch.as_tensor(scheduler.init_noise_sigma))


def _dpmpp(config: Mapping[str, Any], steps: int, *, karras: bool) -> Table:
    """A, B = alpha, sigma now; C scales x, D the data prediction, E and F its difference to the step before."""
    scheduler = _DPMPP.from_config(
        config,
        use_karras_sigmas=karras,
        solver_order=2,
        algorithm_type="dpmsolver++",
        solver_type="midpoint",
        final_sigmas_type="zero",
    )
    scheduler.set_timesteps(steps)
    alpha = 1 / ((scheduler.sigmas**2 + 1) ** 0.5)
    sigma = scheduler.sigmas * alpha
    h = (torch.log(alpha) - torch.log(sigma)).diff()
    scale = alpha[1:] * (torch.exp(-h) - 1.0)
    half, ratio = torch.zeros_like(h), torch.zeros_like(h)
    half[1:-1] = 0.5 * scale[1:-1]  # the first and the last step are of first order
    ratio[1:-1] = 1.0 / (h[:-2] / h[1:-1])
    values = _rows(scheduler.timesteps, None, alpha[:-1], sigma[:-1], sigma[1:] / sigma[:-1], scale, half, ratio)
    return Table("dpmpp_2m_karras" if karras else "dpmpp_2m", values, torch.tensor(1.0))


def _lcm(config: Mapping[str, Any], steps: int) -> Table:
    """A, B as in DDIM; C, D = c_out, c_skip; E scales the fresh noise (0 at the end), F what it is added to."""
    scheduler = _LCM.from_config(config, clip_sample=False)
    try:
        scheduler.set_timesteps(steps)
    except ValueError:
        limit = scheduler.config.original_inference_steps
        message = f"steps must be at most {limit} with the lcm sampler; got {steps}"
        raise InvalidJob([FieldError(field="steps", message=message)]) from None
    timesteps = scheduler.timesteps
    alpha = scheduler.alphas_cumprod[timesteps]
    c_skip, c_out = scheduler.get_scalings_for_boundary_condition_discrete(timesteps)
    alpha_prev = torch.cat([alpha[1:], torch.ones(1)])
    values = _rows(
        timesteps, None, alpha.sqrt(), (1 - alpha).sqrt(), c_out, c_skip, (1 - alpha_prev).sqrt(), alpha_prev.sqrt()
    )
    return Table("lcm", values, torch.tensor(1.0))


_BUILDERS: dict[str, Callable[[Mapping[str, Any], int], Table]] = {
    "ddim": _ddim,
    "euler": _euler,
    "euler_a": _euler_a,
    "dpmpp_2m": lambda config, steps: _dpmpp(config, steps, karras=False),
    "dpmpp_2m_karras": lambda config, steps: _dpmpp(config, steps, karras=True),
    "lcm": _lcm,
}


class Tables:
    """The tables of one checkpoint, built when first asked for and kept.

    ``config`` is the checkpoint's scheduler config. Its ``prediction_type`` must be ``epsilon`` or
    ``v_prediction``.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = dict(config)
        self.prediction: str = self._config.get("prediction_type", "epsilon")
        self.get = lru_cache(maxsize=512)(self._build)

    def _build(self, sampler: str, steps: int) -> Table:
        """Raises :class:`InvalidJob` when the sampler cannot make this number of steps."""
        trained = self._config.get("num_train_timesteps", 1000)
        if steps > trained:
            message = f"steps must be at most {trained}, the number the model was trained with; got {steps}"
            raise InvalidJob([FieldError(field="steps", message=message)])
        return _BUILDERS[sampler](self._config, steps)
