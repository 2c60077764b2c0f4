"""A UNet's blocks with fewer and larger operations: the same arithmetic in another order, equal up to rounding.

Each takes the place of diffusers' block of the same kind. What depends on a row's prompt or step alone is not computed
here but handed in, side by side for all blocks: keys and values of the text, and biases of the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.activations import GEGLU
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor, nn


class LeanResnet(nn.Module):
    """A ``ResnetBlock2D``; its step biases are columns ``span`` of ``biases`` ``[R, S]``."""

    def __init__(self, block: Any, span: slice) -> None:
        super().__init__()
        self.norm1, self.conv1, self.norm2, self.conv2 = block.norm1, block.conv1, block.norm2, block.conv2
        self.shortcut = block.conv_shortcut
        self._span = span

    @staticmethod
    def replaces(block: Any) -> bool:
        """Whether it does what this block does."""
        plain = block.time_embedding_norm == "default" and block.upsample is None and block.downsample is None
        timed = block.time_emb_proj is not None and not block.skip_time_act
        return plain and timed and block.output_scale_factor == 1.0 and isinstance(block.nonlinearity, nn.SiLU)

    def forward(self, x: Tensor, biases: Tensor) -> Tensor:
        """Rows ``[R, C, h, w]`` to rows ``[R, C', h, w]``."""
        inner = self.conv1(_normed(x, self.norm1)).add_(biases[:, self._span, None, None])
        residual = x if self.shortcut is None else _image(_project(_tokens(x), self.shortcut), x.shape[2:])
        output: Tensor = self.conv2(_normed(inner, self.norm2)).add_(residual)
        return output


def _normed(x: Tensor, norm: nn.GroupNorm) -> Tensor:
    return F.silu(F.group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps), inplace=True)


class LeanTransformer(nn.Module):
    """A ``Transformer2DModel``; keys and values of the text are columns of what it gets as the text."""

    def __init__(self, model: Any, spans: list[slice]) -> None:
        super().__init__()
        self.norm, self.proj_in, self.proj_out = model.norm, model.proj_in, model.proj_out
        blocks = zip(model.transformer_blocks, spans, strict=True)
        self.blocks = nn.ModuleList([LeanBlock(block, span) for block, span in blocks])

    @staticmethod
    def replaces(model: Any) -> bool:
        """Whether it does what this block does."""
        return bool(model.is_input_continuous) and all(map(LeanBlock.replaces, model.transformer_blocks))

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        """Rows ``[R, C, h, w]`` to rows of the same shape."""
        inner = F.group_norm(x, self.norm.num_groups, self.norm.weight, self.norm.bias, self.norm.eps)
        tokens = _project(_tokens(inner), self.proj_in)
        for block in self.blocks:
            tokens = block(tokens, text)
        return _image(_project(tokens, self.proj_out), x.shape[2:]).add_(x)


def _tokens(image: Tensor) -> Tensor:
    return image.permute(0, 2, 3, 1).flatten(1, 2)


def _image(tokens: Tensor, size: Sequence[int]) -> Tensor:
    return tokens.view(tokens.shape[0], *size, -1).permute(0, 3, 1, 2)


def _project(tokens: Tensor, layer: Any) -> Tensor:
    """A linear layer, or a 1x1 convolution, which is one."""
    return F.linear(tokens, layer.weight.flatten(1), layer.bias)


class LeanBlock(nn.Module):
    """A ``BasicTransformerBlock``, with the projections of self-attention in one."""

    def __init__(self, block: Any, span: slice) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = block.norm1, block.norm2, block.norm3
        self.own, self.text = block.attn1, block.attn2
        self.gate, self.out = block.ff.net[0].proj, block.ff.net[2]
        own = block.attn1
        projections = torch.cat([own.to_q.weight, own.to_k.weight, own.to_v.weight]).detach()
        self._projections: Tensor
        self.register_buffer("_projections", projections, persistent=False)
        self._span = span

    @staticmethod
    def replaces(block: Any) -> bool:
        """Whether it does what this block does."""
        if not isinstance(block, BasicTransformerBlock) or block.norm_type != "layer_norm" or block.attn2 is None:
            return False
        simple = block.pos_embed is None and block._chunk_size is None and not block.only_cross_attention
        return simple and isinstance(block.ff.net[0], GEGLU) and all(map(_simple, (block.attn1, block.attn2)))

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        """Tokens ``[R, h * w, C]`` to tokens of the same shape."""
        own = F.linear(_layer_norm(x, self.norm1), self._projections)
        x = _attend(self.own, *own.chunk(3, dim=-1)).add_(x)
        query = self.text.to_q(_layer_norm(x, self.norm2))
        x = _attend(self.text, query, *text[..., self._span].chunk(2, dim=-1)).add_(x)
        value, gate = self.gate(_layer_norm(x, self.norm3)).chunk(2, dim=-1)
        output: Tensor = self.out(F.gelu(gate).mul_(value)).add_(x)
        return output


def _simple(attention: Any) -> bool:
    parts = (attention.group_norm, attention.spatial_norm, attention.norm_cross, attention.norm_q, attention.norm_k)
    bare = all(part is None for part in (*parts, attention.added_kv_proj_dim, attention.to_q.bias))
    plain = not attention.residual_connection and attention.rescale_output_factor == 1.0
    return bare and plain and type(attention.processor) is AttnProcessor2_0


def _layer_norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    return F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def _attend(attention: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    heads: int = attention.heads
    query, key, value = (part.view(*part.shape[:2], heads, -1).transpose(1, 2) for part in (query, key, value))
    mixed = F.scaled_dot_product_attention(query, key, value)
    projected: Tensor = attention.to_out[0](mixed.transpose(1, 2).flatten(2))
    return projected


class LeanUpsample(nn.Module):
    """Nearest-neighbour doubling and a 3x3 convolution, as one transposed convolution of 4x4 taps and stride 2.

    Each input pixel becomes four equal ones, so of a kernel's nine taps those that meet the same pixel are added up
    first. An output pixel then sees four taps: 4/9 of the arithmetic, and the doubled image is never made.
    """

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.plain = module
        self.taps: nn.Module = _doubling(module.conv)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """Rows ``[R, C, h, w]`` to ``[R, C', 2h, 2w]``; another ``size`` goes the plain way."""
        if tuple(size) != (2 * x.shape[2], 2 * x.shape[3]):
            return self.plain(x, size)  # type: ignore[no-any-return]
        return self.taps(x)  # type: ignore[no-any-return]


def _doubling(conv: nn.Conv2d) -> nn.ConvTranspose2d:
    """The transposed convolution that does what doubling and then ``conv`` do."""
    weight = conv.weight.detach().transpose(0, 1).float()  # sums of taps are rounded once
    into, out = weight.shape[:2]
    kernel = weight.new_zeros(into, out, 4, 4)
    for row in range(2):  # where the tap's pixel lies in the block of four that an input pixel becomes
        for column in range(2):
            kernel[:, :, row : row + 3, column : column + 3] += weight.flip(2, 3)
    doubling = nn.ConvTranspose2d(into, out, 4, stride=2, padding=1, bias=conv.bias is not None)
    doubling.weight.data = kernel.to(conv.weight.dtype).contiguous(memory_format=torch.channels_last)
    if conv.bias is not None:
        doubling.bias.data = conv.bias.detach().clone()  # type: ignore[union-attr]
    return doubling.requires_grad_(False)
