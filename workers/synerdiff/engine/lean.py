"""A UNet for full batches: what depends on the prompt or the step alone is computed once, the rest in fewer operations.

Its rows are equal to the UNet's own up to rounding (about 1e-6). An ``exact`` request alone is promised the pipeline's
very bits, so its calls of one or two rows go to the UNet itself.
"""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from synerdiff.engine.decode.upsample import is_plain
from synerdiff.engine.lean_blocks import LeanResnet, LeanTransformer, LeanUpsample
from synerdiff.engine.lean_walk import walk, walkable

if TYPE_CHECKING:
    from synerdiff.engine.text import Embedding

ALONE = 2
"""The most rows of a request alone."""

KEPT_BYTES = 64 * 2**20


class LeanUNet(nn.Module):
    """Called like the UNet; ``projected`` are the keys and values of the rows' texts."""

    def __init__(self, unet: nn.Module, lean: nn.Module, projections: Tensor) -> None:
        super().__init__()
        self.unet = unet
        self.lean = lean
        self._projections: Tensor
        self.register_buffer("_projections", projections, persistent=False)
        self._known: OrderedDict[Embedding, Tensor] = OrderedDict()

    @property
    def config(self) -> Any:
        """The UNet's own."""
        return self.unet.config

    def project(self, context: Tensor) -> Tensor:
        """Keys and values ``[..., tokens, P]`` of every cross-attention, for texts ``[..., tokens, width]``."""
        return F.linear(context, self._projections)

    def projected(self, embedding: Embedding) -> Tensor:
        """The same for a text that comes again; the latest ``KEPT_BYTES`` of them are kept."""
        if embedding not in self._known:
            self._known[embedding] = made = self.project(embedding.context)
            while len(self._known) > max(1, KEPT_BYTES // made.nbytes):
                self._known.popitem(last=False)
        self._known.move_to_end(embedding)
        return self._known[embedding]

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        projected: Tensor | None = None,
        return_dict: bool = False,
    ) -> tuple[Tensor]:
        """Rows ``[R, C, h, w]`` at steps ``[R]``; without ``projected``, ``ALONE`` or fewer go to the UNet itself."""
        if projected is None and sample.shape[0] <= ALONE:
            return self.unet(sample, timestep, encoder_hidden_states, return_dict=False)  # type: ignore[no-any-return]
        text = self.project(encoder_hidden_states) if projected is None else projected
        return (walk(self.lean, sample, timestep, text),)


class StepAngles(nn.Module):
    """``Timesteps`` with its frequencies kept."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        half = module.num_channels // 2
        exponent = -math.log(10000) * torch.arange(half, dtype=torch.float32) / (half - module.downscale_freq_shift)
        self._frequencies: Tensor
        self.register_buffer("_frequencies", torch.exp(exponent) * module.scale, persistent=False)
        self._cosine_first: bool = module.flip_sin_to_cos

    def forward(self, timesteps: Tensor) -> Tensor:
        """Timesteps ``[R]`` to angles' sines and cosines ``[R, channels]``."""
        angles = timesteps[:, None].float() * self._frequencies
        parts = (torch.cos(angles), torch.sin(angles))
        return torch.cat(parts if self._cosine_first else parts[::-1], dim=-1)


class StepBiases(nn.Module):
    """A ``TimestepEmbedding`` and what every residual block makes of it, side by side."""

    def __init__(self, embedding: Any, blocks: list[Any]) -> None:
        super().__init__()
        self.first, self.second = embedding.linear_1, embedding.linear_2
        self._weight: Tensor
        self._bias: Tensor
        for name in ("weight", "bias"):
            parts = torch.cat([getattr(block.time_emb_proj, name) for block in blocks]).detach()
            self.register_buffer(f"_{name}", parts, persistent=False)

    def forward(self, angles: Tensor) -> Tensor:
        """``[R, channels]`` to ``[R, S]``."""
        hidden = self.second(F.silu(self.first(angles), inplace=True))
        return F.linear(F.silu(hidden, inplace=True), self._weight, self._bias)


def lean(unet: Any) -> LeanUNet | None:
    """The lean form of a UNet, which shares its parameters; None where it is not of the kind that has one."""
    shared: dict[int, Any] = {id(tensor): tensor for tensor in (*unet.parameters(), *unet.buffers())}
    twin = copy.deepcopy(unet, shared)
    found = [(parent, name, child) for parent in twin.modules() for name, child in parent.named_children()]
    children = [child for _, _, child in found]
    resnets = [child for child in children if isinstance(child, ResnetBlock2D)]
    transformers = [child for child in children if isinstance(child, Transformer2DModel)]
    timed = sum(hasattr(child, "time_emb_proj") for child in children)
    fitting = all(map(LeanResnet.replaces, resnets)) and all(map(LeanTransformer.replaces, transformers))
    if not (transformers and walkable(twin) and timed == len(resnets) and fitting and _timed_plainly(unet.config)):
        return None
    blocks = [block for model in transformers for block in model.transformer_blocks]
    biases = iter(_spans([block.out_channels for block in resnets]))
    texts = iter(_spans([2 * block.attn2.inner_dim for block in blocks]))
    projections = torch.cat([part.weight for block in blocks for part in (block.attn2.to_k, block.attn2.to_v)])
    for parent, name, child in found:
        if isinstance(child, ResnetBlock2D):
            parent._modules[name] = LeanResnet(child, next(biases))
        elif isinstance(child, Transformer2DModel):
            parent._modules[name] = LeanTransformer(child, [next(texts) for _ in child.transformer_blocks])
        elif isinstance(child, Upsample2D) and is_plain(child):
            parent._modules[name] = LeanUpsample(child)
    twin.time_proj, twin.time_embedding = StepAngles(twin.time_proj), StepBiases(twin.time_embedding, resnets)
    return LeanUNet(unet, twin, projections.detach())


def _timed_plainly(config: Any) -> bool:
    """Whether a row's step is all that its blocks' biases depend on."""
    bare = (config.addition_embed_type, config.class_embed_type, config.num_class_embeds, config.time_cond_proj_dim)
    others = (config.time_embedding_act_fn, config.timestep_post_act, config.encoder_hid_dim_type)
    positional = config.time_embedding_type == "positional" and config.block_out_channels[0] % 2 == 0
    return positional and all(part is None for part in (*bare, *others))


def _spans(sizes: list[int]) -> list[slice]:
    """Places of parts of these sizes, side by side."""
    ends = list(accumulate(sizes))
    return [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
