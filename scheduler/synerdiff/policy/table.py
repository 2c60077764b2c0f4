"""The priced table: the cheapest way to work off c waiting chunks while n samples denoise.

J(c) = min over actions with x > 0 chunks of  I + price * (T - U(n) if the UNet runs, else T) + J(c - x)

where I is the integral of waiting images over the slot (an image leaves when its last chunk is done) and the price
says how many jobs a second of delay holds up. With n fixed every UNet call is alike, so one dimension is enough:
the table equals brute force over all slot sequences (tests/unit/policy_table). Decoding alone in one slot or several
costs the same, so an alone slot ends with its image at the latest; and chunks past the end of a UNet call cost what
they cost alone, so the search stops there.

The age bound: beside a UNet call a slot runs at least one chunk for each waiting image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from synerdiff.policy.cost import Array, CostModel
from synerdiff.policy.plan import PlanTable
from synerdiff.policy.wire import document_hash, table_document

Ints = NDArray[np.int64]
NEVER = 1e15  # seconds of a slot that cannot be; finite, so that no arithmetic makes a NaN of it


@dataclass(frozen=True, slots=True)
class Steps:
    """The chunk runs that may start at one position of a decode, by ascending chunks.

    ``chunk_s`` is the seconds they take alone, ``done`` the images they finish, ``done_at`` the sum over those of
    the share of ``chunk_s`` after which they are done, ``cut`` the granularity.
    """

    chunks: Ints
    chunk_s: Array
    done: Ints
    done_at: Array
    cut: Ints


@dataclass(frozen=True, slots=True)
class Lanes:
    """Several tables at once, one a column: ``active`` samples each and a ``price`` each."""

    active: Ints
    price: Array


@dataclass(frozen=True, slots=True)
class Solution:
    """Best cost and action for every number of waiting chunks (rows) in every lane (columns).

    ``slot_s`` is T of the chosen slot. Row 0 is the UNet call alone.
    """

    lanes: Lanes
    cost: Array
    unet: NDArray[np.bool_]
    chunks: Ints
    cut: Ints
    slot_s: Array


def steps_from(cost: CostModel, position: int, reach: int) -> Steps:
    """Every run of chunks of one granularity that starts ``position`` chunks into a decode, up to ``reach`` chunks."""
    per_decode = cost.chunks_per_decode
    found: list[tuple[int, float, int, float, int]] = []
    for index, cut in enumerate(cost.cuts):
        start = np.flatnonzero(cut.ends[:-1] == position)
        if not start.size:
            continue
        whole, before = float(cut.seconds[-1]), float(cut.seconds[start[0]])
        for image in range(reach // per_decode + 2):
            for end, seconds in zip(cut.ends[1:], cut.seconds[1:], strict=True):
                chunks = image * per_decode + int(end) - position
                taken = image * whole + float(seconds) - before
                if 0 < chunks <= max(reach, per_decode - position):
                    done = image + int(end == per_decode)
                    left = sum((i + 1) * whole - before for i in range(done))
                    found.append((chunks, taken, done, left / taken, index))
    found.sort()
    columns = list(zip(*found, strict=True))
    return Steps(
        np.array(columns[0]), np.array(columns[1]), np.array(columns[2]), np.array(columns[3]), np.array(columns[4])
    )


def reach_of(cost: CostModel, active: Ints, max_waiting: int) -> int:
    """The chunks past which more beside a UNet call is the same as decoding them alone after it."""
    most = max_waiting * cost.chunks_per_decode
    per_chunk = cost.profile.finest.decode_s / cost.chunks_per_decode
    chunks = np.arange(1, most + 1)
    running = active[active > 0]
    if not running.size:
        return min(most, cost.chunks_per_decode)
    rows = running * cost.profile.rows_per_sample
    slot, done = cost.beside(rows[None, :], (chunks * per_chunk)[:, None])
    bottleneck = done >= slot - cost.profile.slot_s - 1e-12
    first = np.where(bottleneck.any(axis=0), bottleneck.argmax(axis=0) + 1, most)
    return min(most, max(int(first.max()) + cost.chunks_per_decode, max_waiting))


@dataclass(frozen=True, slots=True)
class _Priced:
    """The steps of one position with their times in every lane; ``base`` is the cost but for w * T and what follows."""

    steps: Steps
    slot_s: Array
    base: Array


def _price_beside(cost: CostModel, lanes: Lanes, steps: Steps) -> _Priced:
    rows = lanes.active * cost.profile.rows_per_sample
    slot, done = cost.beside(rows[None, :], steps.chunk_s[:, None])
    slot = np.where(lanes.active > 0, slot, NEVER)
    delay = slot - cost.unet(rows)
    base = lanes.price * delay - steps.done[:, None] * slot + steps.done_at[:, None] * done
    return _Priced(steps, slot, np.where(lanes.active > 0, base, np.inf))


def _price_alone(cost: CostModel, lanes: Lanes, steps: Steps, position: int) -> _Priced:
    """Slots that only decode, up to the end of the image; the longest first, which wins among equals."""
    keep = np.flatnonzero(steps.chunks <= cost.chunks_per_decode - position)[::-1]
    kept = Steps(steps.chunks[keep], steps.chunk_s[keep], steps.done[keep], steps.done_at[keep], steps.cut[keep])
    slot = np.repeat(cost.alone(kept.chunk_s)[:, None], len(lanes.active), axis=1)
    base = lanes.price * slot - kept.done[:, None] * slot + (kept.done_at * kept.chunk_s)[:, None]
    return _Priced(kept, slot, base)


def solve(cost: CostModel, lanes: Lanes, max_waiting: int) -> Solution:
    """Fill the priced table for every lane, from no waiting chunk to ``max_waiting`` images."""
    per_decode, width = cost.chunks_per_decode, len(lanes.active)
    size = max_waiting * per_decode + 1
    reach = reach_of(cost, lanes.active, max_waiting)
    beside, alone = [], []
    for position in range(per_decode):
        steps = steps_from(cost, position, reach)
        beside.append(_price_beside(cost, lanes, steps))
        alone.append(_price_alone(cost, lanes, steps, position))
    found = Solution(
        lanes,
        cost=np.zeros((size, width)),
        unet=np.zeros((size, width), dtype=bool),
        chunks=np.zeros((size, width), dtype=np.int64),
        cut=np.zeros((size, width), dtype=np.int64),
        slot_s=np.zeros((size, width)),
    )
    found.unet[0] = lanes.active > 0
    found.slot_s[0] = np.where(lanes.active > 0, cost.unet_of(lanes.active), 0.0)
    for waiting in range(1, size):
        position = -waiting % per_decode
        _fill(found, waiting, -(-waiting // per_decode), beside[position], alone[position])
    return found


def _fill(found: Solution, waiting: int, images: int, beside: _Priced, alone: _Priced) -> None:
    """Choose the action for one number of waiting chunks, in every lane."""
    lane = np.arange(found.cost.shape[1])
    least = int(np.searchsorted(beside.steps.chunks, min(images, waiting)))  # the age bound
    most = int(np.searchsorted(beside.steps.chunks, waiting, side="right"))
    options = [(alone, slice(0, None), False)]
    if most > least:
        options.append((beside, slice(least, most), True))
    best = np.full(found.cost.shape[1], np.inf)
    for priced, part, runs_unet in options:
        after = found.cost[waiting - priced.steps.chunks[part]]
        total = priced.base[part] + images * priced.slot_s[part] + after
        row = total.argmin(axis=0)
        better = total[row, lane] < best - 1e-12
        best = np.where(better, total[row, lane], best)
        found.unet[waiting] = np.where(better, runs_unet, found.unet[waiting])
        found.chunks[waiting] = np.where(better, priced.steps.chunks[part][row], found.chunks[waiting])
        found.cut[waiting] = np.where(better, priced.steps.cut[part][row], found.cut[waiting])
        found.slot_s[waiting] = np.where(better, priced.slot_s[part][row, lane], found.slot_s[waiting])
    found.cost[waiting] = best


def bound_slots(chunks_per_decode: int, max_waiting: int) -> int:
    """The most UNet calls an image waits for: each runs at least one chunk for every image up to and with it."""
    left, slots = chunks_per_decode * max_waiting, 0
    while left > 0:
        left -= -(-left // chunks_per_decode)
        slots += 1
    return slots


def auto_prices(max_active: int, price_cap: float) -> Array:
    """``theta: auto``: a second of delay holds up the other active jobs."""
    return np.clip(np.arange(max_active + 1, dtype=np.float64) - 1.0, 0.0, price_cap)


def build_table(
    cost: CostModel, price: float | Sequence[float] | Array, *, max_active: int, max_waiting: int
) -> PlanTable:
    """The look-up table for one price (or one for each number of active samples)."""
    active = np.arange(max_active + 1)
    lanes = Lanes(active, np.broadcast_to(np.asarray(price, dtype=np.float64), active.shape))
    solved = solve(cost, lanes, max_waiting)
    unnamed = PlanTable(
        profile_id=cost.profile.profile_id,
        rows_per_sample=cost.profile.rows_per_sample,
        chunks_per_decode=cost.chunks_per_decode,
        granularities=tuple(cut.name for cut in cost.cuts),
        unet=np.ascontiguousarray(solved.unet.T.astype(np.uint8)),
        chunks=np.ascontiguousarray(solved.chunks.T.astype(np.uint16)),
        granularity=np.ascontiguousarray(solved.cut.T.astype(np.uint8)),
        bound_slots=bound_slots(cost.chunks_per_decode, max_waiting),
    )
    return replace(unnamed, table_hash=document_hash(table_document(unnamed)))
