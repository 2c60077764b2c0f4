"""What a slot costs: the profile's measurements as functions of rows and chunks.

Symbols, as in docs/algorithm.md: U(n) is a UNet call alone, W the chunks alone, T the slot when both run, V the
moment in it when the chunks are done, M the chunks of a decode (in the finest granularity).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synerdiff.policy.profile import Profile

Array = NDArray[np.float64]
MAX_CONTENTION = 2.0


@dataclass(frozen=True, slots=True)
class Cut:
    """One granularity on the scale of the finest chunks: ``ends[i]`` and ``seconds[i]`` are cumulative, from 0."""

    name: str
    ends: NDArray[np.int64]
    seconds: Array


class CostModel:
    """Slot times of a profile, for ``rows_per_sample`` rows a sample."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.chunks_per_decode = len(profile.finest.chunk_s)
        self.cuts = tuple(self._cut(each.name, each.chunk_s) for each in profile.granularities)
        self.decode_s = profile.decode_s
        self._contention = self._measured_contention()

    def unet(self, rows: ArrayLike) -> Array:
        """U: seconds of a slot with a UNet call of ``rows`` rows and nothing beside it.

        Linear between measured rows; past the last, at the slope of the last two (or in proportion to rows, where
        calls are padded: between the last two there is no slope).
        """
        at = np.asarray(rows, dtype=np.float64)
        known, seconds = self.profile.rows, self.profile.unet_s
        inside = np.interp(at, known, seconds)
        slope = seconds[-1] / known[-1]
        if len(known) > 1 and self.profile.unet_rows == "any":
            slope = max((seconds[-1] - seconds[-2]) / (known[-1] - known[-2]), 0.0)
        beyond = np.maximum(at - known[-1], 0.0) * slope
        return np.asarray(inside + beyond + self.profile.slot_s, dtype=np.float64)

    def unet_of(self, active: ArrayLike) -> Array:
        """U for ``active`` samples, none of which skips."""
        return self.unet(np.asarray(active) * self.profile.rows_per_sample)

    def alone(self, chunk_s: ArrayLike) -> Array:
        """T of a slot that only decodes ``chunk_s`` seconds of chunks."""
        return np.asarray(chunk_s, dtype=np.float64) + self.profile.slot_s

    def beside(self, rows: ArrayLike, chunk_s: ArrayLike) -> tuple[Array, Array]:
        """T and V of slots in which a UNet call of ``rows`` rows and ``chunk_s`` seconds of chunks run together.

        Each side is delayed by a measured share (its contention) of the time both run: 0 is perfect overlap,
        1 no gain over taking turns. Without measured pairs they take turns.
        """
        chunks = np.asarray(chunk_s, dtype=np.float64)
        bookkeeping = self.profile.slot_s
        unet = self.unet(rows) - bookkeeping
        if self._contention is None:
            total = unet + chunks + bookkeeping
            return total, total
        both = np.minimum(unet, chunks)
        on_unet, on_chunks = self.contention(rows, chunks)
        done = chunks + on_chunks * both
        return np.maximum(unet + on_unet * both, done) + bookkeeping, done

    def contention(self, rows: ArrayLike, chunk_s: ArrayLike) -> tuple[Array, Array]:
        """The shares by which UNet and chunks delay each other, interpolated in rows and decodes' worth of chunks."""
        pairs, measured = self.profile.pairs, self._contention
        if pairs is None or measured is None:
            one = np.ones(np.broadcast_shapes(np.shape(rows), np.shape(chunk_s)))
            return one, one
        share = np.asarray(chunk_s, dtype=np.float64) / self.profile.finest.decode_s
        row_weight = _weights(np.asarray(rows, dtype=np.float64), pairs.rows)
        share_weight = _weights(share, pairs.decodes)
        return _bilinear(measured[0], row_weight, share_weight), _bilinear(measured[1], row_weight, share_weight)

    def _cut(self, name: str, chunk_s: tuple[float, ...]) -> Cut:
        """Align a granularity's chunks with the finest ones, by their share of a decode."""
        finest = np.cumsum(self.profile.finest.chunk_s)
        seconds = np.cumsum(chunk_s)
        count, per_decode = len(chunk_s), self.chunks_per_decode
        shares = finest / finest[-1]
        ends = np.array([int(np.abs(shares - share).argmin()) + 1 for share in seconds / seconds[-1]])
        for i in range(1, count):
            ends[i] = max(ends[i], ends[i - 1] + 1)
        for i in range(count - 1, -1, -1):
            ends[i] = min(ends[i], per_decode - (count - 1 - i))
        return Cut(name, np.concatenate(([0], ends)).astype(np.int64), np.concatenate(([0.0], seconds)))

    def _measured_contention(self) -> tuple[Array, Array] | None:
        pairs = self.profile.pairs
        if pairs is None:
            return None
        unet = (self.unet(pairs.rows) - self.profile.slot_s)[:, None]
        chunks = np.asarray(pairs.decodes)[None, :] * self.profile.finest.decode_s
        both = np.minimum(unet, chunks)
        on_unet = np.clip((np.asarray(pairs.unet_s) - unet) / both, 0.0, MAX_CONTENTION)
        on_chunks = np.clip((np.asarray(pairs.vae_s) - chunks) / both, 0.0, MAX_CONTENTION)
        return on_unet, on_chunks


def _weights(at: Array, known: tuple[float, ...] | tuple[int, ...]) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
    """The neighbours of ``at`` among ``known`` and the upper one's weight; clamped at both ends."""
    grid = np.asarray(known, dtype=np.float64)
    upper = np.clip(np.searchsorted(grid, at), 0, len(grid) - 1)
    lower = np.maximum(upper - 1, 0)
    width = np.where(upper > lower, grid[upper] - grid[lower], 1.0)
    return lower, upper, np.clip((at - grid[lower]) / width, 0.0, 1.0)


def _bilinear(
    grid: Array,
    row: tuple[NDArray[np.intp], NDArray[np.intp], Array],
    share: tuple[NDArray[np.intp], NDArray[np.intp], Array],
) -> Array:
    (r0, r1, rw), (s0, s1, sw) = row, share
    low = grid[r0, s0] * (1 - sw) + grid[r0, s1] * sw
    high = grid[r1, s0] * (1 - sw) + grid[r1, s1] * sw
    return np.asarray(low * (1 - rw) + high * rw, dtype=np.float64)
