"""One image on its way through the engine: its request, its own noise, where it stands and what it cost."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from synerdiff.engine.guidance import GuidanceState
from synerdiff.engine.model import LoadedModel
from synerdiff.engine.schedule import STOCHASTIC, Table
from synerdiff.engine.shape import Shape
from synerdiff.engine.text import Conditioning
from synerdiff.engine.types import ImageReceipt, Request


@dataclass(slots=True, eq=False)
class Sample:
    """Image ``index`` of a request, in the order of the phases it goes through.

    ``latents`` and ``history`` (the last data prediction of a multistep sampler) are ``[C, h, w]`` float32 and
    may be views into a batch. ``guidance`` is None where a full step takes one row.
    Times are in seconds of the engine's clock.
    """

    request: Request
    index: int
    table: Table
    conditioning: Conditioning
    generator: torch.Generator
    latents: Tensor
    shape: Shape
    guidance: GuidanceState | None = None
    history: Tensor | None = None
    step: int = 0
    rows_run: int = 0
    call_rows: int = 0
    encode_s: float = 0.0
    admitted_at: float = 0.0
    denoised_at: float = 0.0
    decode_started_at: float = 0.0

    @property
    def job_id(self) -> str:
        """The job that the image belongs to."""
        return self.request.job_id

    @property
    def seed(self) -> int:
        """The seed that its noise comes from."""
        return self.request.seed + self.index

    @property
    def guided(self) -> bool:
        """Whether a full step takes two rows."""
        return self.guidance is not None

    @property
    def rows(self) -> int:
        """UNet rows of a full step."""
        return 2 if self.guided else 1

    @property
    def stochastic(self) -> bool:
        """Whether every step draws fresh noise."""
        return self.table.sampler in STOCHASTIC

    @property
    def done(self) -> bool:
        """Whether the last denoising step is behind it."""
        return self.step >= self.table.steps

    def receipt(self, chunks: int, plan_version: int) -> ImageReceipt:
        """What its making cost, once it is decoded."""
        skipped = () if self.guidance is None else tuple(self.guidance.skipped)
        return ImageReceipt(
            rows_run=self.rows_run,
            rows_skipped=len(skipped),
            rows_per_call=self.call_rows / max(1, self.step),
            skipped_steps=skipped,
            chunks=chunks,
            plan_version=plan_version,
            text_chunks=self.shape.chunks,
        )


def initial_latents(request: Request, index: int, table: Table, model: LoadedModel) -> tuple[torch.Generator, Tensor]:
    """The generator of image ``index`` and its first latents ``[C, h, w]``, drawn as the pipeline draws them.

    The generator is the CPU's whatever the device, and draws in its ``noise_dtype``.
    """
    generator = torch.Generator("cpu").manual_seed(request.seed + index)
    scale = model.entry.latent_multiple
    size = (1, model.latent_channels, request.height // scale, request.width // scale)
    noise = torch.randn(size, generator=generator, dtype=model.noise_dtype)
    return generator, (noise.float() * table.init_sigma).to(model.device)[0]
