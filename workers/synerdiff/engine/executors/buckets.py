"""UNet calls in a few fixed sizes, for compiled graphs: rows are padded up to the next bucket.

``torch.compile`` and CUDA graphs want the same shapes again and again, while a continuous batch changes its rows at
every step. Rows do not see each other, so padding changes no result; its cost is the padded rows.
"""

from __future__ import annotations

import importlib
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def row_buckets(max_rows: int) -> tuple[int, ...]:
    """Return 1, 2, 4, 6, 8, 12, 16, 24, ... up to ``max_rows``: at most a third of a call is padding (past 4 rows)."""
    sizes = {1, max_rows}
    power = 2
    while power <= max_rows:
        sizes |= {power} | ({power + power // 2} if power >= 4 else set())
        power *= 2
    return tuple(sorted(size for size in sizes if size <= max_rows))


def row_bucket(rows: int, buckets: Sequence[int]) -> int:
    """Return the smallest bucket that holds ``rows``, or ``rows`` itself past the last one."""
    at = bisect_left(buckets, rows)
    return buckets[at] if at < len(buckets) else rows


def pad_rows(value: Any, rows: int, to: int) -> Any:
    """Pad every tensor of ``rows`` rows inside ``value`` (a tensor or dictionary) with zero rows."""
    if isinstance(value, dict):
        return {name: pad_rows(inner, rows, to) for name, inner in value.items()}
    if isinstance(value, Tensor) and value.ndim and value.shape[0] == rows:
        return F.pad(value, (*(0, 0) * (value.ndim - 1), 0, to - rows))
    return value


class BucketedUNet:
    """A UNet whose calls are padded to row buckets; otherwise called just like it.

    Args:
        unet: a diffusers UNet.
        buckets: ascending row counts.
        compiler: makes the fast version, by default ``torch.compile`` with CUDA graphs.
    """

    def __init__(
        self, unet: Callable[..., Any], buckets: Sequence[int], compiler: Callable[..., Any] | None = None
    ) -> None:
        self._buckets = tuple(buckets)
        self._plain = unet
        self._call = compiler(unet) if compiler else _compile(unet, len(self._buckets))

    def __call__(self, sample: Tensor, timestep: Tensor, **inputs: Any) -> tuple[Tensor, ...]:
        """Run rows ``[R, C, h, w]`` at timesteps ``[R]``; returns the UNet's tuple, cut back to R rows.

        More rows than the last bucket holds go to the UNet as it is.
        """
        rows = sample.shape[0]
        if rows > self._buckets[-1]:
            output: tuple[Tensor, ...] = self._plain(sample, timestep, **inputs)
            return output
        to = row_bucket(rows, self._buckets)
        padded = {name: pad_rows(value, rows, to) for name, value in inputs.items()}
        padded_output = self._call(pad_rows(sample, rows, to), pad_rows(timestep, rows, to), **padded)
        # The clone outlives the next replay: a CUDA graph writes its output to the same memory every time.
        return tuple(each[:rows].clone() for each in padded_output)


def _compile(unet: Callable[..., Any], sizes: int) -> Callable[..., Any]:
    # Past its limit of versions (8) dynamo silently runs a function uncompiled.
    dynamo: Any = importlib.import_module("torch._dynamo.config")
    dynamo.recompile_limit = max(dynamo.recompile_limit, 2 * sizes)
    compiled: Callable[..., Any] = torch.compile(unet, mode="reduce-overhead", dynamic=False)
    return compiled
