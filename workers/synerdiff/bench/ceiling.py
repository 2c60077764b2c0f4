"""The ceiling: what the same UNet calls and decodes cost back to back, with no queue and no bookkeeping."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import torch

from synerdiff.bench.outcome import Run
from synerdiff.engine.lean import LeanUNet
from synerdiff.engine.model import LoadedModel

SAMPLES = 6


def _mean_s(call: Callable[[], object], count: int, device: torch.device) -> float:
    """Mean seconds of a call over up to ``SAMPLES`` runs after one for warm-up."""
    call()
    repeats = min(SAMPLES, count)
    _wait(device)
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    _wait(device)
    return (time.perf_counter() - start) / repeats


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Ceiling:
    """Times bare calls of a model by shape, each shape once per instance; ``unet`` is the form of it that is called."""

    def __init__(self, model: LoadedModel, unet: torch.nn.Module, context: tuple[int, int]) -> None:
        self._model = model
        self._unet = unet
        self._vae = model.vae
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
            self._spent[key] = _mean_s(call, count, self._model.device)
        return self._spent[key]

    def _unet_call(self, rows: int, height: int, width: int) -> Callable[[], object]:
        device, dtype = self._model.device, self._model.dtype
        latents = torch.randn(rows, self._channels, height, width, device=device, dtype=dtype)
        timesteps = torch.full((rows,), 500.0, device=device)
        context = torch.randn(rows, *self._context, device=device, dtype=dtype)
        known = {"projected": self._unet.project(context)} if isinstance(self._unet, LeanUNet) else {}
        return lambda: self._unet(latents, timesteps, encoder_hidden_states=context, return_dict=False, **known)

    def _vae_call(self, count: int, height: int, width: int) -> Callable[[], object]:
        """``height`` and ``width`` are the image's, in pixels."""
        factor = 2 ** (len(self._vae.config.block_out_channels) - 1)  # type: ignore[union-attr,arg-type]
        channels: int = self._vae.config.latent_channels  # type: ignore[union-attr,assignment]
        device, dtype = self._model.device, self._model.vae_dtype
        latents = torch.randn(count, channels, height // factor, width // factor, device=device, dtype=dtype)
        return lambda: self._vae.decode(latents, return_dict=False)  # type: ignore[operator]
