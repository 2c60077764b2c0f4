"""Real UNet calls and real decodes of one model at one size, to be timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from synerdiff.engine.conditioning import guidance_embedding
from synerdiff.engine.config import EngineConfig
from synerdiff.engine.decode import ChunkedDecode, decode_chunks
from synerdiff.engine.denoise import UNetCall, fixed_rows_unet
from synerdiff.engine.executors import row_buckets
from synerdiff.engine.lean import ALONE, LeanUNet
from synerdiff.engine.model import LoadedModel
from synerdiff.engine.text import TextEncoder
from synerdiff.engine.types import Request

from .sizes import config_at

STEPS = 25
GUIDANCE = 5.0
QUALITY = "balanced"
SHORT_S = 0.05
COMPILED_AFTER = 2
"""Calls until a compiled one is itself: compiled at the first, recorded as a CUDA graph at the second."""


class Workload:
    """One model's calls for images of ``width`` x ``height`` pixels, as an engine of ``config`` makes them.

    Raises :class:`ModelError` where the checkpoint cannot make such images.
    """

    def __init__(self, model: LoadedModel, width: int, height: int, config: EngineConfig | None = None) -> None:
        self.model, self.width, self.height = model, width, height
        self.config = config_at(config or EngineConfig(), model, width, height)
        self._fixed = fixed_rows_unet(model, self.config)
        scale = model.entry.latent_multiple
        size = (1, model.latent_channels, height // scale, width // scale)
        self._latents = torch.randn(size, generator=torch.Generator().manual_seed(0)).to(model.device)
        self._text = TextEncoder(model).encode("", "", guided=False).positive

    def request(self, index: int, *, steps: int = STEPS, prompt: str = "") -> Request:
        """A job of the usual kind."""
        sampler = self.model.entry.samplers[0]
        size = (self.width, self.height)
        return Request(f"profile-{index}", prompt, "", *size, steps, GUIDANCE, sampler, index, 1, "exact")

    @property
    def rows_per_sample(self) -> int:
        """Rows of a full step of the usual job: one where guidance is built into the model."""
        return 1 if self.model.guidance_width is not None else 2

    def exact_sizes(self, sizes: Sequence[int]) -> list[int]:
        """Those of the measured numbers of rows that are called otherwise with an ``exact`` image among them."""
        if self._fixed is not None:
            plain = row_buckets(sizes[-1])
            return [rows for rows in sizes if rows in plain]
        lean = isinstance(self.model.unet_in(self.model.dtype), LeanUNet)
        return [rows for rows in sizes if lean and rows <= ALONE]

    def unet_call(self, rows: int, *, exact: bool = False) -> Callable[[], Tensor]:
        """One UNet call over ``rows`` rows; ``exact``: as with an image of that class among them."""
        model = self.model
        fixed = None if exact else self._fixed
        unet: UNetCall = fixed or model.unet_in(model.dtype)
        latents = self._latents.expand(rows, -1, -1, -1).to(model.dtype).contiguous()
        timesteps = torch.full((rows,), 500.0, device=model.device)
        context = self._text.context.expand(rows, -1, -1).to(model.dtype).contiguous()
        options = self._options(rows)
        if isinstance(unet, LeanUNet) and not (exact and rows <= ALONE):
            options["projected"] = unet.project(context)

        def call() -> Tensor:
            output: Tensor = unet(latents, timesteps, encoder_hidden_states=context, return_dict=False, **options)[0]
            return output

        return call

    def _options(self, rows: int) -> dict[str, Any]:
        """What SDXL (sizes, pooled text) and distilled models (the guidance scale) take besides."""
        model, options = self.model, dict[str, Any]()
        if self._text.pooled is not None:
            time_ids = torch.tensor([[self.height, self.width, 0, 0, self.height, self.width]] * rows)
            pooled = self._text.pooled.expand(rows, -1).to(model.dtype)
            options["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": time_ids.to(model.device, model.dtype)}
        if model.guidance_width is not None:
            embedding = guidance_embedding(torch.full((rows,), GUIDANCE - 1), model.guidance_width)
            options["timestep_cond"] = embedding.to(model.device, model.dtype)
        return options

    def decode(self, granularity: str) -> ChunkedDecode:
        """A decode that has not begun."""
        return decode_chunks(self.model.vae, self._latents, granularity, self.model.kernels(QUALITY))

    def wait(self) -> None:
        """Wait until the device has finished."""
        if self.model.device.type == "cuda":
            torch.cuda.synchronize(self.model.device)

    def seconds(self, call: Callable[[], object]) -> float:
        """Wall time of a call, the device's work included."""
        self.wait()
        begun = time.perf_counter()
        call()
        self.wait()
        return time.perf_counter() - begun

    @torch.inference_mode()
    def time_unet(self, rows: int, *, exact: bool = False) -> tuple[float, ...]:
        """Seconds of one UNet call alone, after others like it: a short one is made again and again for ``SHORT_S``
        and the last one counts, for the first ones find caches and memory as larger calls left them."""
        call, spent = self.unet_call(rows, exact=exact), 0.0
        for _ in range(COMPILED_AFTER if self.config.unet_rows == "compiled" and not exact else 0):
            call()
        while True:
            seconds = self.seconds(call)
            spent += seconds
            if spent >= SHORT_S:
                return (seconds,)

    @torch.inference_mode()
    def time_decode(self, granularity: str) -> tuple[float, ...]:
        """Seconds of each chunk of one decode alone."""
        decode = self.decode(granularity)
        return tuple(self.seconds(lambda: decode.run(1)) for _ in range(decode.chunks))
