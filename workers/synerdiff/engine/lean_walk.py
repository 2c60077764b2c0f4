"""The way of a batch through a UNet of lean blocks: down, through the middle, and up past what was kept on the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_2d_blocks import (
    CrossAttnDownBlock2D,
    CrossAttnUpBlock2D,
    DownBlock2D,
    UNetMidBlock2DCrossAttn,
    UpBlock2D,
)
from torch import Tensor, nn

_DOWN, _UP = (DownBlock2D, CrossAttnDownBlock2D), (UpBlock2D, CrossAttnUpBlock2D)


def walkable(unet: Any) -> bool:
    """Whether a UNet has the blocks of Stable Diffusion's and no others."""
    blocks = (*unet.down_blocks, unet.mid_block, *unet.up_blocks)
    known = all(isinstance(block, _DOWN) for block in unet.down_blocks)
    known = known and all(isinstance(block, _UP) for block in unet.up_blocks)
    known = known and isinstance(unet.mid_block, UNetMidBlock2DCrossAttn)
    ends = isinstance(unet.conv_norm_out, nn.GroupNorm) and isinstance(unet.conv_act, nn.SiLU)
    attentions = (each for block in blocks for each in getattr(block, "attentions", ()))
    plain = all(isinstance(each, Transformer2DModel) for each in attentions)
    return known and ends and plain and not unet.config.center_input_sample


def walk(unet: Any, x: Tensor, timesteps: Tensor, text: Any) -> Tensor:
    """Rows ``[R, C, h, w]`` at ``timesteps`` ``[R]`` through a UNet whose blocks are lean."""
    biases = unet.time_embedding(unet.time_proj(timesteps).to(x.dtype))
    x = unet.conv_in(x)
    kept = [x]
    for block in unet.down_blocks:
        for resnet, attention in _layers(block):
            x = resnet(x, biases)
            x = x if attention is None else attention(x, text)
            kept.append(x)
        for sampler in block.downsamplers or ():
            x = sampler(x)
            kept.append(x)
    x = unet.mid_block.resnets[0](x, biases)
    for attention, resnet in zip(unet.mid_block.attentions, unet.mid_block.resnets[1:], strict=True):
        x = resnet(attention(x, text), biases)
    for block in unet.up_blocks:
        for resnet, attention in _layers(block):
            x = resnet(torch.cat([x, kept.pop()], dim=1), biases)
            x = x if attention is None else attention(x, text)
        for sampler in block.upsamplers or ():
            x = sampler(x, kept[-1].shape[2:])
    norm = unet.conv_norm_out
    x = F.silu(F.group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps), inplace=True)
    result: Tensor = unet.conv_out(x)
    return result


def _layers(block: Any) -> Iterator[tuple[Any, Any]]:
    attentions = getattr(block, "attentions", None) or [None] * len(block.resnets)
    return zip(block.resnets, attentions, strict=True)
