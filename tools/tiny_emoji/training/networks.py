"""The three networks, small enough for a CPU, initialised so that few steps go a long way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from tools.tiny_emoji.training.vae_init import start_near_identity

VAE_CHANNELS = (16, 32, 48, 64)
UNET_CHANNELS = (48, 96, 144)
TEXT_WIDTH = 128
NOISE_SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.02,
    "clip_sample": False,
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
    "steps_offset": 1,
}


def make_vae(seed: int) -> Any:
    """A fresh ``AutoencoderKL`` of factor 8 with 4 latent channels: 0.83 M weights, one norm group, no attention."""
    torch.manual_seed(seed)
    kind: Any = AutoencoderKL
    vae = kind(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=VAE_CHANNELS,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=1,
        sample_size=128,
        mid_block_add_attention=False,
    )
    start_near_identity(vae)
    return vae


def load_vae(path: Path) -> Any:
    """A VAE from its directory, in float32."""
    kind: Any = AutoencoderKL
    return kind.from_pretrained(path, local_files_only=True, torch_dtype=torch.float32)


def load_tokenizer(path: Path) -> Any:
    """A tokenizer from its directory."""
    kind: Any = CLIPTokenizer
    return kind.from_pretrained(path, local_files_only=True)


def make_text_encoder(tokenizer: Any) -> nn.Module:
    """A fresh ``CLIPTextModel`` of two layers: 0.47 M weights."""
    config: Any = CLIPTextConfig
    kind: Any = CLIPTextModel
    encoder: nn.Module = kind(
        config(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            projection_dim=TEXT_WIDTH,
            hidden_act="quick_gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    with torch.no_grad():
        # CLIP's 0.02 leaves words alike for too long at this size.
        encoder.get_input_embeddings().weight.mul_(10)  # type: ignore[operator]
    return encoder


def make_unet() -> nn.Module:
    """A fresh ``UNet2DConditionModel`` of 4.8 M weights for 16x16 latents."""
    kind: Any = UNet2DConditionModel
    unet: nn.Module = kind(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=UNET_CHANNELS,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    _unit_gain(unet)
    return unet


@torch.no_grad()
def _unit_gain(unet: nn.Module) -> None:
    """Convolutions that keep the variance, residual branches that start small."""
    for name, module in unet.named_modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size[0] == 3:
            module.weight.mul_(3**0.5)
        if name.endswith(("conv2", "proj_out")) or name == "conv_out":
            module.weight.mul_(0.1)
