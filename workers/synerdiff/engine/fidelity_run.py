"""Images of many prompts at once under a skip criterion: all samples in step, one UNet call a step.

The engine's own tables, samplers, guidance and text encoder, without its queues: what a criterion does to an
image is the same here and there, and a study of many criteria stays affordable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from synerdiff.engine.decoding import unscale
from synerdiff.engine.guidance import Guidance, GuidanceState
from synerdiff.engine.model import LoadedModel
from synerdiff.engine.samplers import advance
from synerdiff.engine.schedule import STOCHASTIC, Row
from synerdiff.engine.text import TextEncoder
from synerdiff.protocol.errors import ModelError

ROWS_PER_CALL = 16


@dataclass(frozen=True, slots=True)
class Scenario:
    """One setting of a study; prompt i has seed ``seed + i`` and the i-th guidance scale, going round."""

    sampler: str
    steps: int
    guidance: tuple[float, ...]
    seed: int = 0

    @property
    def label(self) -> str:
        """Short name for tables."""
        scales = ", ".join(f"{scale:g}" for scale in self.guidance)
        return f"{self.sampler}, {self.steps} steps, guidance {scales}, seed {self.seed}"

    def scale(self, index: int) -> float:
        """The guidance scale of prompt ``index``."""
        return self.guidance[index % len(self.guidance)]


@dataclass(frozen=True, slots=True)
class Criterion:
    """A way to choose steps and to predict: ``skips`` decides for a sample, ``guidance`` predicts."""

    name: str
    setting: str
    guidance: Guidance
    skips: Callable[[GuidanceState], bool]
    quality: str = "fast"


@dataclass(frozen=True, slots=True)
class Outcome:
    """``images`` is ``[N, 3, H, W]`` in [0, 1]; ``skipped`` the skipped steps of each, ``rows`` all that could be."""

    images: Tensor
    skipped: tuple[tuple[int, ...], ...]
    rows: int

    @property
    def share(self) -> float:
        """Share of the unconditional rows that were skipped."""
        return sum(map(len, self.skipped)) / self.rows


class Studio:
    """One model and one list of prompts, encoded once. Models that need SDXL's further inputs are refused."""

    def __init__(self, model: LoadedModel, prompts: Sequence[str]) -> None:
        if model.family not in ("sd1", "sd2"):
            raise ModelError(f"fidelity studies sd1 and sd2 checkpoints; this one is {model.family}")
        self.model = model
        self.prompts = tuple(prompts)
        encoder = TextEncoder(model, cache_size=len(prompts) + 1)
        rows = [encoder.encode(prompt, "", guided=True) for prompt in prompts]
        self._positive = torch.stack([row.positive.context for row in rows])
        self._negative = torch.stack([row.negative.context for row in rows if row.negative is not None])

    @torch.no_grad()
    def make(self, scenario: Scenario, criterion: Criterion) -> Outcome:
        """All prompts' images."""
        model, guidance = self.model, criterion.guidance
        table = model.tables.get(scenario.sampler, scenario.steps)
        states = [guidance.begin(table, scenario.scale(i), criterion.quality) for i in range(len(self.prompts))]
        generators = [torch.Generator().manual_seed(scenario.seed + i) for i in range(len(self.prompts))]
        x = self._noise(generators) * table.init_sigma
        history: Tensor | None = None
        for step in range(table.steps):
            column = table.values[:, step].view(len(Row), 1, 1, 1, 1)
            for state in states:
                state.settle()
            ran = [not criterion.skips(state) for state in states]
            cond, uncond = self._predict(x / column[Row.DIVISOR], float(table.values[Row.TIMESTEP, step]), ran)
            guided = guidance.combine(cond, uncond, states, ran)
            noise = self._noise(generators) if scenario.sampler in STOCHASTIC else None
            x, history = advance(
                scenario.sampler, x, guided, column, model.tables.prediction, history=history, noise=noise
            )
        skipped = tuple(tuple(state.skipped) for state in states)
        return Outcome(self._decode(x), skipped, len(states) * table.steps)

    def _noise(self, generators: Sequence[torch.Generator]) -> Tensor:
        entry, factor = self.model.entry, self.model.entry.latent_multiple
        shape = (1, self.model.latent_channels, entry.default_height // factor, entry.default_width // factor)
        return torch.cat([torch.randn(shape, generator=generator) for generator in generators]).to(self.model.device)

    def _predict(self, x: Tensor, timestep: float, ran: Sequence[bool]) -> tuple[Tensor, Tensor]:
        full = [i for i, run in enumerate(ran) if run]
        rows, context = torch.cat([x[full], x]), torch.cat([self._negative[full], self._positive])
        pieces = [
            self.model.unet(part.to(self.model.dtype), timestep, encoder_hidden_states=text, return_dict=False)[0]
            for part, text in zip(rows.split(ROWS_PER_CALL), context.split(ROWS_PER_CALL), strict=True)
        ]
        output = torch.cat(pieces).float()
        return output[len(full) :], output[: len(full)]

    def _decode(self, latents: Tensor) -> Tensor:
        vae: Any = self.model.vae
        parts = [
            vae.decode(unscale(part, vae.config).to(self.model.vae_dtype), return_dict=False)[0].float()
            for part in latents.split(4)
        ]
        return (torch.cat(parts) / 2 + 0.5).clamp(0, 1).cpu()
