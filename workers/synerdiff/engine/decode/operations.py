"""Walk an AutoencoderKL's decoder into the operations that it runs, in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from diffusers.models.attention_processor import Attention
from diffusers.models.unets.unet_2d_blocks import AttnUpDecoderBlock2D, UpDecoderBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import nn

from synerdiff.protocol.errors import ModelError

from . import resnet, upsample
from .attention import SelfAttention
from .ends import ConvIn, Output
from .kernels import PLAIN, Kernels
from .operation import Operation
from .resnet import ResnetHead, ResnetTail
from .upsample import Upsample


def operations(vae: Any, height: int, width: int, kernels: Kernels = PLAIN) -> tuple[Operation, ...]:
    """List a decode's operations for latents of ``height`` x ``width``.

    Args:
        vae: a diffusers ``AutoencoderKL``, Stable Diffusion's or SDXL's.
        kernels: how whole operations run their convolutions; strips always run them plainly.

    Raises:
        ModelError: its decoder has a block that is none of AutoencoderKL's.
    """
    decoder = vae.decoder
    result: list[Operation] = [ConvIn("conv_in", kernels, vae.post_quant_conv, decoder.conv_in, height, width)]
    for name, module in _modules(decoder):
        result += _cut(name, kernels, module, height, width)
        if isinstance(module, Upsample2D):
            height, width = 2 * height, 2 * width
    if not isinstance(decoder.conv_norm_out, nn.GroupNorm):
        raise ModelError(f"The VAE's output norm is a {type(decoder.conv_norm_out).__name__}, not a GroupNorm.")
    norm, act, conv = decoder.conv_norm_out, decoder.conv_act, decoder.conv_out
    result.append(Output("conv_out", kernels, norm, act, conv, height, width))
    return tuple(result)


def _modules(decoder: Any) -> Iterator[tuple[str, nn.Module]]:
    mid = decoder.mid_block
    yield "mid.resnet.0", mid.resnets[0]
    for i, (attn, block) in enumerate(zip(mid.attentions, mid.resnets[1:], strict=True)):
        if attn is not None:
            yield f"mid.attention.{i}", attn
        yield f"mid.resnet.{i + 1}", block
    for i, up in enumerate(decoder.up_blocks):
        yield from _up_block(f"up.{i}", up)


def _up_block(name: str, up: Any) -> Iterator[tuple[str, nn.Module]]:
    if not isinstance(up, UpDecoderBlock2D | AttnUpDecoderBlock2D):
        raise ModelError(f"The VAE's {name} is a {type(up).__name__}, which is no block of an AutoencoderKL decoder.")
    for i, block in enumerate(up.resnets):
        yield f"{name}.resnet.{i}", block
        if isinstance(up, AttnUpDecoderBlock2D):
            yield f"{name}.attention.{i}", up.attentions[i]
    for module in up.upsamplers or ():
        yield f"{name}.upsample", module


def _cut(name: str, kernels: Kernels, module: Any, height: int, width: int) -> list[Operation]:
    if resnet.is_plain(module):
        return [
            ResnetHead(f"{name}.head", kernels, module, height, width),
            ResnetTail(f"{name}.tail", kernels, module, height, width),
        ]
    if isinstance(module, Attention):
        return [SelfAttention(name, module, height, width)]
    if upsample.is_plain(module):
        return [Upsample(name, kernels, module, module.conv, height, width)]
    raise ModelError(f"The VAE's {name} is a {type(module).__name__}, which is no part of an AutoencoderKL decoder.")
