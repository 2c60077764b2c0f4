"""The ceiling: what the same UNet calls and decodes cost back to back, with no queue and no bookkeeping."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import torch

from synerdiff.bench.outcome import Run
from synerdiff.engine.lean import LeanUNet

SAMPLES = 6


def _mean_s(call: Callable[[], object], count: int) -> float:
    """Mean seconds of a call over up to ``SAMPLES`` runs after one for warm-up."""
    call()
    repeats = min(SAMPLES, count)
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


class Ceiling:
    """Times bare calls of a model by shape, each shape once per instance."""

    def __init__(self, unet: torch.nn.Module, vae: torch.nn.Module, context: tuple[int, int]) -> None:
        self._unet = unet
        self._vae = vae
        self._context = context
        self._channels: int = unet.config.in_channels  # type: ignore[union-attr,assignment]
        self._spent: dict[tuple[str, int, int, int], float] = {}

    @torch.inference_mode()
    def seconds(self, run: Run) -> float:
        """What the run's calls would take back to back, in seconds."""
        return self._total("unet", run.calls) + self._total("vae", run.decodes)

    def _total(self, part: str, calls: Counter[tuple[int, int, int]]) -> float:
        return sum(count * self._one(part, shape, count) for shape, count in calls.items())

    def _one(self, part: str, shape: tuple[int, int, int], count: int) -> float:
        key = (part, *shape)
        if key not in self._spent:
            call = self._unet_call(*shape) if part == "unet" else self._vae_call(*shape)
            self._spent[key] = _mean_s(call, count)
        return self._spent[key]

    def _unet_call(self, rows: int, height: int, width: int) -> Callable[[], object]:
        latents = torch.randn(rows, self._channels, height, width)
        timesteps = torch.full((rows,), 500.0)
        context = torch.randn(rows, *self._context)
        known = {"projected": self._unet.project(context)} if isinstance(self._unet, LeanUNet) else {}
        return lambda: self._unet(latents, timesteps, encoder_hidden_states=context, return_dict=False, **known)

    def _vae_call(self, count: int, height: int, width: int) -> Callable[[], object]:
        """``height`` and ``width`` are the image's, in pixels."""
        factor = 2 ** (len(self._vae.config.block_out_channels) - 1)  # type: ignore[union-attr,arg-type]
        channels: int = self._vae.config.latent_channels  # type: ignore[union-attr,assignment]
        latents = torch.randn(count, channels, height // factor, width // factor)
        return lambda: self._vae.decode(latents, return_dict=False)  # type: ignore[operator]
