"""The ceiling: what the same UNet calls and decodes cost back to back, with no queue and no bookkeeping."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import torch

from synerdiff.bench.outcome import Run
from synerdiff.engine.decode import Granularity, decode_chunks
from synerdiff.engine.lean import ALONE, LeanUNet
from synerdiff.engine.model import LoadedModel

SAMPLES = 6


def _mean_s(call: Callable[[], object], count: int, device: torch.device, clock: Callable[[], float]) -> float:
    """Mean seconds of a call over up to ``SAMPLES`` runs after one for warm-up."""
    call()
    repeats = min(SAMPLES, count)
    _wait(device)
    start = clock()
    for _ in range(repeats):
        call()
    _wait(device)
    return (clock() - start) / repeats


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Ceiling:
    """Times bare calls of a model by shape, each shape once per instance.

    They are the calls that the engine makes for images of class ``quality``; with None, the plain pipeline's.
    ``clock`` says in which seconds.
    """

    def __init__(
        self,
        model: LoadedModel,
        context: tuple[int, int],
        quality: str | None,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._model = model
        self._unet = model.unet if quality is None else model.unet_in(model.dtype)
        self._vae = model.vae
        self._exact = quality == "exact"
        self._kernels = None if quality is None else model.kernels(quality)
        self._context = context
        self._clock = clock
        self._channels: int = model.unet.config.in_channels  # type: ignore[union-attr,assignment]
        self._spent: dict[tuple[str, int, int, int], float] = {}

    @torch.inference_mode()
    def warm_up(self, rows: int, height: int, width: int) -> None:
        """Make a call of each number of rows up to ``rows``, for the first one of a number prepares its kernels."""
        for number in range(1, rows + 1):
            self._unet_call(number, height, width)()

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
            self._spent[key] = _mean_s(call, count, self._model.device, self._clock)
        return self._spent[key]

    def _unet_call(self, rows: int, height: int, width: int) -> Callable[[], object]:
        device, dtype = self._model.device, self._model.dtype
        latents = torch.randn(rows, self._channels, height, width, device=device, dtype=dtype)
        timesteps = torch.full((rows,), 500.0, device=device)
        context = torch.randn(rows, *self._context, device=device, dtype=dtype)
        lean = isinstance(self._unet, LeanUNet) and not (self._exact and rows <= ALONE)
        known = {"projected": self._unet.project(context)} if lean else {}  # type: ignore[operator]
        return lambda: self._unet(latents, timesteps, encoder_hidden_states=context, return_dict=False, **known)

    def _vae_call(self, count: int, height: int, width: int) -> Callable[[], object]:
        """``height`` and ``width`` are the image's, in pixels."""
        factor = 2 ** (len(self._vae.config.block_out_channels) - 1)  # type: ignore[union-attr,arg-type]
        channels: int = self._vae.config.latent_channels  # type: ignore[union-attr,assignment]
        device, dtype = self._model.device, self._model.vae_dtype
        latents = torch.randn(count, channels, height // factor, width // factor, device=device, dtype=dtype)
        kernels = self._kernels
        if kernels is None:
            return lambda: self._vae.decode(latents, return_dict=False)  # type: ignore[operator]
        return lambda: decode_chunks(self._vae, latents, Granularity.WHOLE, kernels).run()
