"""Samplers as pure functions over a batch in which each sample stands at its own step.

``x`` are latents and ``m`` the guided model output, ``[N, C, h, w]`` float32. ``c`` is the gathered column of
each sample's table, ``[len(Row), N, 1, 1, 1]`` (see :mod:`synerdiff.engine.schedule` for what the rows hold).
No function keeps a step index or touches its inputs. Each repeats the order of operations of diffusers 0.42,
which makes DDIM and Euler equal to it bit for bit on the CPU in float32.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from synerdiff.engine.schedule import Row

V_PREDICTION = "v_prediction"


def data_prediction(x: Tensor, m: Tensor, c: Tensor, prediction: str) -> Tensor:
    """The predicted clean latents x_0 where A and B are the scales of signal and noise."""
    if prediction == V_PREDICTION:
        return c[Row.A] * x - c[Row.B] * m
    return (x - c[Row.B] * m) / c[Row.A]


def euler_data_prediction(x: Tensor, m: Tensor, c: Tensor, prediction: str) -> Tensor:
    """The predicted clean latents x_0 where A is sigma."""
    return m * c[Row.C] + x / c[Row.D] if prediction == V_PREDICTION else x - c[Row.A] * m


def denoised(sampler: str, x: Tensor, m: Tensor, c: Tensor, prediction: str) -> Tensor:
    """The predicted clean latents x_0 at this step of ``sampler``."""
    predict = euler_data_prediction if sampler in ("euler", "euler_a") else data_prediction
    return predict(x, m, c, prediction)


def ddim(x: Tensor, m: Tensor, c: Tensor, prediction: str) -> Tensor:
    """DDIM with eta 0 (Song et al. 2020, equation 12)."""
    x_0 = data_prediction(x, m, c, prediction)
    epsilon = c[Row.A] * m + c[Row.B] * x if prediction == V_PREDICTION else m
    return c[Row.C] * x_0 + c[Row.D] * epsilon


def euler(x: Tensor, m: Tensor, c: Tensor, prediction: str) -> Tensor:
    """Euler's method on the probability-flow ODE (Karras et al. 2022, algorithm 2 without churn)."""
    x_0 = euler_data_prediction(x, m, c, prediction)
    return x + (x - x_0) / c[Row.A] * c[Row.B]


def euler_a(x: Tensor, m: Tensor, c: Tensor, prediction: str, noise: Tensor) -> Tensor:
    """Euler's method with ancestral noise (k-diffusion's ``sample_euler_ancestral``)."""
    return euler(x, m, c, prediction) + noise * c[Row.E]


def dpmpp_2m(x: Tensor, m: Tensor, c: Tensor, prediction: str, history: Tensor) -> tuple[Tensor, Tensor]:
    """DPM-Solver++ 2M (Lu et al. 2022); returns the next latents and the x_0 that the next step needs.

    ``history`` is the x_0 of the step before; E is zero at a first-order step, so it may hold zeros then.
    """
    x_0 = data_prediction(x, m, c, prediction)
    return c[Row.C] * x - c[Row.D] * x_0 - c[Row.E] * (c[Row.F] * (x_0 - history)), x_0


def lcm(x: Tensor, m: Tensor, c: Tensor, prediction: str, noise: Tensor) -> Tensor:
    """One step of a latent consistency model (Luo et al. 2023, algorithm 3)."""
    x_0 = data_prediction(x, m, c, prediction)
    denoised = c[Row.C] * x_0 + c[Row.D] * x
    return c[Row.F] * denoised + c[Row.E] * noise


_DETERMINISTIC: dict[str, Callable[[Tensor, Tensor, Tensor, str], Tensor]] = {"ddim": ddim, "euler": euler}
_NOISY: dict[str, Callable[[Tensor, Tensor, Tensor, str, Tensor], Tensor]] = {"euler_a": euler_a, "lcm": lcm}


def advance(
    sampler: str, x: Tensor, m: Tensor, c: Tensor, prediction: str, *, history: Tensor | None, noise: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Take one step with ``sampler``; returns the next latents and, for multistep samplers, the next history."""
    if sampler in _DETERMINISTIC:
        return _DETERMINISTIC[sampler](x, m, c, prediction), None
    if sampler in _NOISY:
        assert noise is not None
        return _NOISY[sampler](x, m, c, prediction, noise), None
    return dpmpp_2m(x, m, c, prediction, torch.zeros_like(x) if history is None else history)
