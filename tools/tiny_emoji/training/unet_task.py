"""UNet and text encoder together, on cached latents: v-prediction, with captions dropped now and then for guidance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional
from diffusers import DDPMScheduler
from torch import Tensor, nn

from tools.tiny_emoji.scenes.art import caption_nouns
from tools.tiny_emoji.scenes.captions import caption
from tools.tiny_emoji.training.export import write_model
from tools.tiny_emoji.training.latents import Latents, read_latents
from tools.tiny_emoji.training.networks import NOISE_SCHEDULE, load_tokenizer, make_text_encoder, make_unet
from tools.tiny_emoji.training.task import Share
from tools.tiny_emoji.workspace import Workspace

TIMESTEPS = 1000


@dataclass(frozen=True, slots=True)
class UnetTask:
    """``scale`` multiplies latents; ``drop`` is the share of empty captions."""

    workspace: Workspace
    latents: tuple[Path, ...]
    scale: float
    images: int = 32
    drop: float = 0.1
    seed: int = 0

    def modules(self) -> dict[str, nn.Module]:
        """Text encoder and UNet, in the order in which checkpoints list their weights."""
        torch.manual_seed(self.seed)
        return {"text": make_text_encoder(load_tokenizer(self.workspace.tokenizer)), "unet": make_unet()}

    def work(self, modules: Mapping[str, nn.Module]) -> UnetWork:
        """Read the latents."""
        return UnetWork(modules, read_latents(self.latents, caption_nouns()), self)

    def batch(self, progress: float) -> int:
        """The same at every step."""
        return self.images

    def extras(self) -> dict[str, Any]:
        """The latents' scale: it must not change when other latents are added."""
        return {"scale": self.scale}

    def export(self, modules: Mapping[str, nn.Module], seen: int, last: bool) -> None:
        """Write the model as of these samples, and as the last one too when it is."""
        folders = [self.workspace.exports / f"{seen:08d}", *([self.workspace.model] if last else [])]
        for folder in folders:
            write_model(
                folder, modules["text"], modules["unet"], self.workspace.tokenizer, self.workspace.final_vae, self.scale
            )


class Stream:
    """Sample number to latent: every epoch another permutation, known from the seed alone."""

    def __init__(self, length: int, seed: int) -> None:
        self._length, self._seed = length, seed
        self._epoch = -1
        self._order: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def take(self, start: int, count: int) -> list[int]:
        """Latents of the samples ``start`` to ``start + count``."""
        return [self._at(number) for number in range(start, start + count)]

    def _at(self, number: int) -> int:
        epoch, place = divmod(number, self._length)
        if epoch != self._epoch:
            self._order = np.random.default_rng((self._seed, epoch)).permutation(self._length)
            self._epoch = epoch
        return int(self._order[place])


class UnetWork:
    """One process's modules and latents."""

    def __init__(self, modules: Mapping[str, nn.Module], latents: Latents, task: UnetTask) -> None:
        self._text, self._unet = modules["text"].train(), modules["unet"].train()
        self._latents, self._task = latents, task
        self._tokenizer = load_tokenizer(task.workspace.tokenizer)
        self._stream = Stream(len(latents.scenes), task.seed)
        kind: Any = DDPMScheduler
        self._noise = kind(**NOISE_SCHEDULE)

    def loss(self, share: Share) -> Tensor:
        """Mean squared error of the predicted velocity."""
        chosen = self._stream.take(share.start, share.count)
        clean = self._latents.values[chosen].float() * self._task.scale
        noise = torch.randn(clean.shape, generator=share.noise)
        timesteps = stratified(share.count, share.noise)
        noisy = self._noise.add_noise(clean, noise, timesteps)
        texts = self._text(self._tokens(chosen, share.rng))[0]
        predicted = self._unet(noisy, timesteps, encoder_hidden_states=texts, return_dict=False)[0]
        return functional.mse_loss(predicted, self._noise.get_velocity(clean, noise, timesteps))

    def _tokens(self, chosen: list[int], rng: np.random.Generator) -> Tensor:
        said = ["" if rng.random() < self._task.drop else caption(self._latents.scenes[i], rng) for i in chosen]
        encoded = self._tokenizer(said, padding="max_length", truncation=True, max_length=77, return_tensors="pt")
        tokens: Tensor = encoded.input_ids
        return tokens


def stratified(count: int, noise: torch.Generator) -> Tensor:
    """Timesteps ``[count]``, one from each equal part of the range, so that batches are alike."""
    places = (torch.arange(count) + torch.rand(count, generator=noise)) / count
    return (places * TIMESTEPS).long().clamp(max=TIMESTEPS - 1)
