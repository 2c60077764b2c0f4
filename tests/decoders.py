"""VAEs of Stable Diffusion's shape with random weights, for tests."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor

SD_CHANNELS = (128, 256, 512, 512)
SMALL_CHANNELS = (32, 64, 64)


def make_vae(channels: tuple[int, ...] = SMALL_CHANNELS, *, groups: int = 32, seed: int = 0, **config: Any) -> Any:
    """An AutoencoderKL in evaluation mode; the block types are Stable Diffusion's unless ``config`` says otherwise."""
    depth = len(channels)
    defaults: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * depth,
        "up_block_types": ("UpDecoderBlock2D",) * depth,
        "block_out_channels": channels,
        "layers_per_block": 2,
        "norm_num_groups": groups,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        build: Any = AutoencoderKL
        return build(**(defaults | config)).eval()


def make_latents(height: int, width: int, *, channels: int = 4, seed: int = 0) -> Tensor:
    """Unscaled latents ``[1, C, h, w]`` of about the spread that real ones have."""
    return 3.0 * torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def whole_decode(vae: Any, latents: Tensor) -> Tensor:
    """What the pipeline makes of the latents: ``[3, H, W]`` in [0, 1]."""
    image: Tensor = vae.decode(latents.to(vae.dtype)).sample[0]
    return (image / 2 + 0.5).clamp(0, 1).float()
