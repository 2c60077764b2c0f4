"""Previews: small pictures from the predicted clean latents by a linear projection, with no call of the VAE.

An autoencoder's latents are so nearly linear in the colours under them that four channels and a constant give three
colours. The projection is fitted to the model's own VAE when it is loaded: latents in blocks of one random value
are decoded, and the mean colour under each latent is regressed on its channels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from synerdiff.engine.batch import Batch
from synerdiff.engine.decoding import unscale
from synerdiff.engine.executors import HostCopies, HostCopy
from synerdiff.engine.model import LoadedModel
from synerdiff.engine.types import Previewed

IMAGES = 4
SIDE = 16  # latents
BLOCK = 4  # latents with one value: borders between blocks are few, and every value is decoded among others
MAX_SIDE = 64  # pixels of a preview


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """``weights`` ``[C + 1, 3]`` float32: from a latent's channels and 1 to red, green and blue in [0, 1]."""

    weights: Tensor

    def __call__(self, latents: Tensor) -> Tensor:
        """Turn latents ``[N, C, h, w]`` into uint8 pixels ``[N, h', w', 3]``, no side over 64."""
        factor = -(-max(latents.shape[-2:]) // MAX_SIDE)
        if factor > 1:
            latents = functional.avg_pool2d(latents, factor, ceil_mode=True)
        rows = latents.permute(0, 2, 3, 1).float() @ self.weights[:-1] + self.weights[-1]
        return (rows.clamp(0, 1) * 255).round().to(torch.uint8)


@torch.inference_mode()
def fit_projection(model: LoadedModel) -> Projection:
    """Fit the projection of a model by least squares, from four small decodes."""
    generator = torch.Generator("cpu").manual_seed(0)
    drawn = torch.randn(IMAGES, model.latent_channels, SIDE // BLOCK, SIDE // BLOCK, generator=generator)
    latents = functional.interpolate(drawn, scale_factor=BLOCK, mode="nearest").to(model.device)
    decoded = [_decode(model, each[None]) for each in latents]
    colours = functional.avg_pool2d(torch.cat(decoded), model.entry.latent_multiple)
    inputs = latents.permute(0, 2, 3, 1).reshape(-1, model.latent_channels)
    inputs = torch.cat([inputs, torch.ones_like(inputs[:, :1])], dim=1)
    outputs = colours.permute(0, 2, 3, 1).reshape(-1, 3)
    fitted = torch.linalg.lstsq(inputs.double().cpu(), outputs.double().cpu()).solution
    return Projection(fitted.float().to(model.device))


def _decode(model: LoadedModel, latents: Tensor) -> Tensor:
    scaled = unscale(latents.to(model.vae_dtype), model.vae.config)
    image: Tensor = model.vae.decode(scaled, return_dict=False)[0]  # type: ignore[operator]
    return (image.float() * 0.5 + 0.5).clamp(0, 1)


@dataclass(frozen=True, slots=True)
class Shown:
    """Whose preview one is, and after which step."""

    job_id: str
    index: int
    step: int
    steps: int


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """Previews of a batch's members on their way to the host: ``pixels`` uint8 ``[N, h, w, 3]``."""

    pixels: HostCopy
    shown: list[Shown]
    unwanted: set[str] = field(default_factory=set)


class Previews:
    """Takes previews of a batch, at most one in ``every_s`` seconds; 0: none."""

    def __init__(self, model: LoadedModel, every_s: float, clock: Callable[[], float]) -> None:
        self._model = model
        self._every_s = every_s
        self._clock = clock
        self._projection: Projection | None = fit_projection(model) if every_s > 0 else None
        self._taken_at = clock()
        self._copies = HostCopies(model.device)
        self._taken: deque[Taken] = deque()

    def take(self, batch: Batch, model_output: Tensor) -> None:
        """Before a batch advances: keep previews of its members if the last ones are old enough."""
        if self._projection is None or self._clock() - self._taken_at < self._every_s:
            return
        self._taken_at = self._clock()
        pixels = self._copies.start(self._projection(batch.denoised(model_output)))
        shown = [Shown(each.job_id, each.index, each.step + 1, each.table.steps) for each in batch.members]
        self._taken.append(Taken(pixels, shown))

    def forget(self, job_id: str) -> None:
        """Show no preview of a job any more."""
        for taken in self._taken:
            taken.unwanted.add(job_id)

    def pop(self) -> list[Previewed]:
        """The previews that have arrived on the host since the last call."""
        found: list[Previewed] = []
        while self._taken and self._taken[0].pixels.ready:
            found += _previewed(self._taken.popleft())
        return found


def _previewed(taken: Taken) -> list[Previewed]:
    """One for each job, at the step of its slowest image."""
    pixels = taken.pixels.get().numpy()
    jobs: dict[str, list[int]] = {}
    for position, shown in enumerate(taken.shown):
        if shown.job_id not in taken.unwanted:
            jobs.setdefault(shown.job_id, []).append(position)
    found = []
    for job_id, positions in jobs.items():
        members = [taken.shown[position] for position in positions]
        images = {taken.shown[position].index: pixels[position] for position in positions}
        found.append(Previewed(job_id, min(each.step for each in members), members[0].steps, images))
    return found
