"""The VAE: first all of it, later its decoder alone, which leaves latents and UNet valid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from tools.tiny_emoji.scenes.art import Art, load_art, unseen_nouns
from tools.tiny_emoji.scenes.colours import Image8
from tools.tiny_emoji.scenes.compose import VAE_MIX, compose
from tools.tiny_emoji.training.images import to_batch
from tools.tiny_emoji.training.networks import load_vae, make_vae
from tools.tiny_emoji.training.task import Share

CROP = 64
_KL_WEIGHT = 1e-4
_EDGE_WEIGHT = 0.7


@dataclass(frozen=True, slots=True)
class VaeTask:
    """Train a fresh VAE, or with ``base`` the decoder of that one, and write it to ``out``.

    The first part of the leg uses crops of 64 pixels, a quarter of the cost, and the last ``whole`` part whole
    images, so that the group norms' statistics are those of use. A decoder is refined on whole images alone.
    """

    out: Path
    base: Path | None = None
    whole: float = 0.3
    images: int = 8
    seed: int = 0

    def modules(self) -> dict[str, nn.Module]:
        """The VAE; encoder and ``quant_conv`` of a base take no gradient."""
        if self.base is None:
            return {"vae": make_vae(self.seed)}
        vae = load_vae(self.base)
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
        return {"vae": vae}

    def work(self, modules: Mapping[str, nn.Module]) -> VaeWork:
        """Load the art that may be trained on."""
        everything = load_art()
        keep = set(everything.nouns) - unseen_nouns()
        art = Art({noun: sprites for noun, sprites in everything.sprites.items() if noun in keep})
        return VaeWork(modules["vae"], art, self)

    def batch(self, progress: float) -> int:
        """Crops, and half as many whole images."""
        return self.images // 2 if self.uses_whole(progress) else self.images

    def uses_whole(self, progress: float) -> bool:
        """Whether this part of the leg uses whole images."""
        return self.base is not None or progress > 1 - self.whole

    def extras(self) -> dict[str, Any]:
        """Nothing of its own."""
        return {}

    def export(self, modules: Mapping[str, nn.Module], seen: int, last: bool) -> None:
        """Write the VAE when it is done."""
        if last:
            vae: Any = modules["vae"]
            vae.save_pretrained(self.out)


class VaeWork:
    """One process's VAE and art."""

    def __init__(self, vae: Any, art: Art, task: VaeTask) -> None:
        self._vae, self._art, self._task = vae, art, task

    def loss(self, share: Share) -> Tensor:
        """Reconstruction with edges and coarse colours, and a little KL while the encoder learns."""
        images = to_batch(self._images(share))
        frozen = self._task.base is not None
        with torch.set_grad_enabled(not frozen):
            posterior = self._vae.encode(images).latent_dist
        noise = torch.randn(posterior.std.shape, generator=share.noise)
        decoded = self._vae.decode(posterior.mean + posterior.std * noise).sample
        edges = _EDGE_WEIGHT if frozen else 0.1 + _EDGE_WEIGHT * min(1.0, share.progress / 0.4)
        loss = reconstruction_loss(decoded, images, edges)
        return loss if frozen else loss + _KL_WEIGHT * posterior.kl().mean() / posterior.mean[0].numel()

    def _images(self, share: Share) -> list[Image8]:
        images: list[Image8] = []
        while len(images) < share.count:
            image, _ = compose(self._art, share.rng, VAE_MIX)
            if self._task.uses_whole(share.progress):
                images.append(image)
                continue
            for _ in range(2):
                top, left = share.rng.integers(0, image.shape[0] - CROP + 1, 2)
                images.append(image[top : top + CROP, left : left + CROP])
        return images[: share.count]


def reconstruction_loss(decoded: Tensor, images: Tensor, edges: float) -> Tensor:
    """L1 of pixels, of their differences to the next (times ``edges``) and of 4x4 means (times a half)."""
    loss = functional.l1_loss(decoded, images)
    for axis in (2, 3):
        loss = loss + edges * functional.l1_loss(decoded.diff(dim=axis), images.diff(dim=axis))
    coarse = functional.l1_loss(functional.avg_pool2d(decoded, 4), functional.avg_pool2d(images, 4))
    return loss + 0.5 * coarse
