"""The throughput threshold theta: which price a plan needs to sustain a share of the best sustainable rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synerdiff.policy.cost import Array, CostModel
from synerdiff.policy.plan import check_theta
from synerdiff.policy.table import Ints, Lanes, Solution, auto_prices, reach_of, solve

PRICES = 16
SLOTS = 800
WARM_UP = 250
PERIODS = 4
"""Images that a sample finishes at least once the warm-up is over."""


@dataclass(frozen=True, slots=True)
class Curve:
    """What each price sustains at the batch cap: ``theta[i]`` is the share of ``best_rate`` (images a second).

    ``auto`` is what ``theta: auto`` sustains there, whose price is the other active jobs.
    """

    prices: tuple[float, ...]
    theta: tuple[float, ...]
    best_rate: float
    auto: float

    @property
    def band(self) -> tuple[float, float]:
        """The useful thetas: what decoding at once sustains, and the most that any price does."""
        return self.theta[0], max(self.theta)

    def price_for(self, theta: float) -> float:
        """The smallest price whose policy sustains ``theta``, or else the one that sustains most."""
        check_theta(theta)
        reached = [price for price, share in zip(self.prices, self.theta, strict=True) if share >= theta - 1e-9]
        return reached[0] if reached else self.prices[int(np.argmax(self.theta))]


def best_seconds_per_image(cost: CostModel, active: int, steps: int, max_waiting: int = 32) -> float:
    """The least seconds an image can cost in the long run with ``active`` samples in each UNet call.

    A linear program: per image steps / active UNet calls and M chunks in least time, where a slot runs a UNet call
    with x chunks beside it, or chunks alone. With two constraints the best mix has two kinds of slot at most.
    """
    per_decode = cost.chunks_per_decode
    reach = reach_of(cost, np.array([active]), max_waiting)
    chunks = np.arange(reach + 1, dtype=np.float64)
    seconds = chunks / per_decode * cost.profile.finest.decode_s
    beside, _ = cost.beside(active * cost.profile.rows_per_sample, seconds)
    beside[0] = cost.unet_of(active)
    owed = per_decode * active / steps
    alone = float(cost.alone(cost.decode_s)) / per_decode
    return steps / active * _least_per_call(chunks, beside, owed, alone)


def _least_per_call(chunks: Array, seconds: Array, owed: float, alone: float) -> float:
    """Least seconds of a UNet call with its ``owed`` chunks: a mix of two slots, or one and chunks alone."""
    below, above = chunks <= owed, chunks >= owed
    best = float((seconds[below] + (owed - chunks[below]) * alone).min())
    if above.any():
        low, high = chunks[below][:, None], chunks[above][None, :]
        weight = np.where(high > low, (owed - low) / np.maximum(high - low, 1e-12), 0.0)
        mixed = seconds[below][:, None] * (1 - weight) + seconds[above][None, :] * weight
        best = min(best, float(mixed.min()))
    return best


def sustained_rate(solved: Solution, chunks_per_decode: int, steps: int) -> Array:
    """Images a second that each lane's policy sustains at saturation, paying every decode it owes.

    The worse of two cases, since a threshold is a promise: samples spread evenly over their steps, so that a UNet
    call finishes active / steps images; and all in step, finishing together, as jobs of equal steps that were there
    at the start do. Measured between the moments at which images finish their steps, so whole periods count.
    """
    lanes, size = len(solved.lanes.active), solved.unet.shape[0]
    lane, active = np.tile(np.arange(lanes), 2), np.tile(solved.lanes.active, 2)
    width, per_call = 2 * lanes, active / steps
    together = np.where(np.arange(width) < lanes, 1, active)
    waiting, credit = np.zeros(width, dtype=np.int64), np.zeros(width)
    now = np.zeros((2, width))  # seconds, and chunks decoded
    first, last = np.full((2, width), np.nan), np.full((2, width), np.nan)
    for slot in range(max(SLOTS, WARM_UP + PERIODS * steps)):
        over = np.maximum(-((size - 1 - waiting) // chunks_per_decode), 0) * chunks_per_decode
        seen = waiting - over
        done = solved.chunks[seen, lane]
        now += np.stack((solved.slot_s[seen, lane], done))
        credit += np.where(solved.unet[seen, lane], per_call, 0.0)
        finished = np.floor(credit / together + 1e-9).astype(np.int64) * together
        credit -= finished
        waiting += finished * chunks_per_decode - done
        if slot >= WARM_UP:
            first = np.where((finished > 0) & np.isnan(first), now, first)
            last = np.where(finished > 0, now, last)
    seconds, chunks = last - first
    rate = chunks / chunks_per_decode / seconds
    return np.asarray(np.minimum(rate[:lanes], rate[lanes:]))


def price_cap(batch_cap: int) -> float:
    """The highest price worth asking: beyond it the few-step regime loses capacity."""
    return 2.0 * batch_cap


def price_grid(batch_cap: int) -> tuple[float, ...]:
    """Prices from 0 (decode at once) to the cap, in equal ratios."""
    rising = np.geomspace(0.125, price_cap(batch_cap), PRICES - 1)
    return (0.0, *(float(price) for price in rising))


def sustain_curve(cost: CostModel, batch_cap: int, max_waiting: int) -> Curve:
    """What every price sustains at the batch cap, as a share of the best sustainable rate."""
    prices, steps = price_grid(batch_cap), cost.profile.steps
    asked = np.array([*prices, auto_prices(batch_cap, price_cap(batch_cap))[-1]])
    active: Ints = np.full(len(asked), batch_cap)
    solved = solve(cost, Lanes(active, asked), max_waiting)
    rates = sustained_rate(solved, cost.chunks_per_decode, steps)
    best = max(1.0 / best_seconds_per_image(cost, batch_cap, steps, max_waiting), float(rates.max()))
    *shares, auto = (float(share) for share in np.minimum(rates / best, 1.0))
    return Curve(prices, tuple(shares), best, auto)
