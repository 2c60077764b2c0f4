"""A VAE that starts near "average, then upsample" instead of at random, which saves thousands of steps on a CPU.

The first channels of the residual stream carry +RGB and -RGB: silu(a) - silu(-a) = a, so that the output convolutions
are linear in them. A few constant anchor channels hold the group norms' scale nearly still. Everything else starts
small.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_CONTENT = tuple(range(6))
_ANCHORS = 4
_ANCHOR_VALUE = 1.0
_REST = 0.5
_PIXEL_RMS = 0.65


def _anchors(channels: int) -> range:
    return range(channels - 1, channels - 1 - _ANCHORS, -1)


def _set_anchors(conv: nn.Conv2d) -> None:
    assert conv.bias is not None
    for number, channel in enumerate(_anchors(conv.out_channels)):
        conv.weight[channel] = 0
        conv.bias[channel] = _ANCHOR_VALUE if number % 2 == 0 else -_ANCHOR_VALUE


def _pass_through(conv: nn.Conv2d, kernel: Tensor) -> None:
    """Carry the content channels through ``kernel``."""
    assert conv.bias is not None
    conv.weight.mul_(_REST)
    for channel in _CONTENT:
        conv.weight[channel] = 0
        conv.weight[channel, channel] = kernel
        conv.bias[channel] = 0
    _set_anchors(conv)


def _pass_between_stages(module: nn.Module) -> None:
    pool, smooth = torch.zeros(3, 3), torch.tensor([0.25, 0.5, 0.25])
    pool[:2, :2] = 0.25
    kernels = {"conv_shortcut": torch.ones(1, 1), "downsamplers": pool, "upsamplers": smooth[:, None] * smooth[None]}
    for name, layer in module.named_modules():
        kernel = next((kernel for part, kernel in kernels.items() if part in name), None)
        if isinstance(layer, nn.Conv2d) and kernel is not None:
            _pass_through(layer, kernel)


def _shrink_branches(module: nn.Module) -> None:
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size[0] == 3:
            layer.weight.mul_(3**0.5)
        if name.endswith("conv2") and isinstance(layer, nn.Conv2d) and layer.bias is not None:
            layer.weight.mul_(0.05)
            layer.bias.zero_()


def _read_rgb(conv: nn.Conv2d) -> None:
    assert conv.bias is not None
    conv.weight.mul_(_REST)
    for channel in _CONTENT:
        conv.weight[channel] = 0
        conv.weight[channel, channel % 3, 1, 1] = 1 if channel < 3 else -1
        conv.bias[channel] = 0
    _set_anchors(conv)


def _write_rgb(conv: nn.Conv2d) -> None:
    """Undo the last group norm: ``norm`` is the size it is expected to divide by."""
    assert conv.bias is not None
    channels = conv.in_channels
    quiet = channels - len(_CONTENT) - _ANCHORS
    norm = ((6 * _PIXEL_RMS**2 + _ANCHORS * _ANCHOR_VALUE**2 + quiet * 0.05) / channels) ** 0.5
    conv.weight.mul_(0.3)
    for colour in range(3):
        conv.weight[colour] = 0
        conv.weight[colour, colour, 1, 1], conv.weight[colour, colour + 3, 1, 1] = norm, -norm
        conv.bias[colour] = 0


def _narrow_latents(vae: Any) -> None:
    """The mean passes through; the variance starts small."""
    for conv in (vae.quant_conv, vae.post_quant_conv):
        conv.bias.zero_()
        conv.weight.mul_(0.1)
        for channel in range(4):
            conv.weight[channel] = 0
            conv.weight[channel, channel] = 1
    vae.encoder.conv_out.weight[4:] *= 0.1
    vae.encoder.conv_out.bias[4:] = 0
    vae.quant_conv.weight[4:] *= 0.1
    vae.quant_conv.bias[4:] = -4.5


@torch.no_grad()
def start_near_identity(vae: Any) -> None:
    """Initialise an ``AutoencoderKL`` with one norm group, in place."""
    _shrink_branches(vae)
    _pass_between_stages(vae)
    for part in (vae.encoder, vae.decoder):
        _read_rgb(part.conv_in)
        _write_rgb(part.conv_out)
    _narrow_latents(vae)
