"""How well a VAE reconstructs: compositions it never saw, and art it was never trained on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tools.tiny_emoji.scenes.art import Art, load_art, unseen_nouns
from tools.tiny_emoji.scenes.compose import compose
from tools.tiny_emoji.training.images import to_batch
from tools.tiny_emoji.training.networks import load_vae

IMAGES = 64
_BATCH = 8
_SEED = 7_777_777


@torch.inference_mode()
def _mean_psnr(vae: Callable[[Tensor], Tensor], art: Art, count: int) -> float:
    """Mean over images of the PSNR in dB, pixels in [0, 1]."""
    rng, values = np.random.default_rng(_SEED), []
    for start in range(0, count, _BATCH):
        images = to_batch([compose(art, rng)[0] for _ in range(min(_BATCH, count - start))])
        error = ((vae(images).clamp(-1, 1) - images) / 2).square().mean((1, 2, 3))
        values.append(-10 * error.log10())
    return float(torch.cat(values).mean())


def measure_psnr(path: Path, count: int = IMAGES) -> dict[str, float]:
    """Mean PSNR in dB of ``count`` new compositions of trained art and of as many of art held out."""
    vae, everything = load_vae(path), load_art()
    unseen = unseen_nouns()

    def roundtrip(images: Tensor) -> Tensor:
        decoded: Tensor = vae.decode(vae.encode(images).latent_dist.mean).sample
        return decoded

    def part(held_out: bool) -> Art:
        return Art({noun: found for noun, found in everything.sprites.items() if (noun in unseen) == held_out})

    return {
        "new_compositions_db": _mean_psnr(roundtrip, part(held_out=False), count),
        "held_out_art_db": _mean_psnr(roundtrip, part(held_out=True), count),
        "images": float(count),
    }
