"""From a decoder's output to an image, in half precision or once more in single."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor


def to_image(sample: Tensor) -> Tensor:
    """Map a decoded ``[1, 3, H, W]`` from [-1, 1] to a float32 ``[3, H, W]`` in [0, 1], as diffusers' pipelines do."""
    return (sample[0] * 0.5 + 0.5).clamp(0, 1).float()


@torch.inference_mode()
def decode_in_float32(vae: Any, latents: Tensor) -> Tensor:
    """Decode once more with a float32 copy of the decoder, for an image that came out non-finite.

    Args:
        latents: unscaled latents ``[1, C, h, w]``.

    Returns:
        A float32 image ``[3, H, W]``.
    """
    sample = latents.float()
    if vae.post_quant_conv is not None:
        sample = copy.deepcopy(vae.post_quant_conv).float()(sample)
    return to_image(copy.deepcopy(vae.decoder).float()(sample))
