"""What the samples of one UNet call have in common."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch


@dataclass(frozen=True, slots=True)
class Shape:
    """Latents of ``height`` x ``width``, a context of ``chunks`` text encoder lengths, and the UNet's dtype."""

    height: int
    width: int
    chunks: int
    dtype: torch.dtype

    def in_float32(self) -> Shape:
        """The same in single precision."""
        return replace(self, dtype=torch.float32)
