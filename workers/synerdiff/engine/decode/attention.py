"""The mid block's self-attention; its strips are rows of queries, which do not depend on each other."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from torch import Tensor, nn

from .norm import normalise, statistics
from .operation import ELEMENT_COST, DecodeState


def is_plain(attn: nn.Module) -> bool:
    """Whether it is dot-product attention with a group norm, a residual and nothing else."""
    return (
        isinstance(attn, Attention)
        and type(attn.processor) in (AttnProcessor, AttnProcessor2_0)
        and attn.group_norm is not None
        and attn.residual_connection
        and all(getattr(attn, part, None) is None for part in ("spatial_norm", "norm_q", "norm_k"))
    )


@dataclass(frozen=True, slots=True)
class SelfAttention:
    """``x = (x + attention(norm(x))) / scale``."""

    name: str
    attn: Attention
    rows: int
    width: int

    @property
    def cost(self) -> float:
        """Estimated cost in multiply-accumulates: four projections, scores and weighted values."""
        tokens, channels = self.rows * self.width, self.attn.query_dim
        return float(tokens * channels * (4 * channels + 2 * tokens)) + ELEMENT_COST * tokens * channels

    @property
    def held(self) -> int:
        """Most elements held between two strips: x, queries, keys and values."""
        return 4 * self.attn.query_dim * self.rows * self.width

    @property
    def divisible(self) -> bool:
        """Whether it can run in strips."""
        return is_plain(self.attn)

    def whole(self, state: DecodeState) -> None:
        """Run all of it."""
        state.x = self.attn(state.x)

    def strip(self, state: DecodeState, start: int, stop: int) -> None:
        """Run the queries of rows ``[start, stop)``; the first strip projects them all. They overwrite rows of x."""
        if start == 0:
            state.extra = self._project(state.x)
        query, key, value = state.extra
        tokens = slice(start * self.width, stop * self.width)
        hidden = F.scaled_dot_product_attention(query[:, :, tokens], key, value)
        hidden = self.attn.to_out[0](hidden.transpose(1, 2).flatten(2))
        rows = state.x[:, :, start:stop]
        image = hidden.transpose(1, 2).unflatten(2, rows.shape[2:])
        state.x[:, :, start:stop] = (image + rows) / self.attn.rescale_output_factor
        if stop == self.rows:
            state.extra = ()

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = statistics(x, self.attn.group_norm)
        tokens = normalise(x, self.attn.group_norm, mean, variance).flatten(2).transpose(1, 2)
        query, key, value = (
            project(tokens).unflatten(2, (self.attn.heads, -1)).transpose(1, 2)
            for project in (self.attn.to_q, self.attn.to_k, self.attn.to_v)
        )
        return query, key, value
