"""One price against the exact constrained choice, on small random devices."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from benchmarks.policy.study import Table
from synerdiff.policy import Granularity, Pairs, Profile
from synerdiff.policy.cost import CostModel
from synerdiff.policy.oracle import follow, label_setting
from synerdiff.policy.table import build_table


def oracle_table(cases: int) -> Table:
    """The constrained choice (the smallest price that keeps a delay budget) against label-setting."""
    rows = [["images waiting", "cases", "optimal", "mean gap", "worst gap"]]
    for images in (1, 2, 3):
        source = random.Random(7)
        gaps = [_gap(source, images) for _ in range(cases)]
        optimal = sum(gap < 1e-6 for gap in gaps) / len(gaps)
        rows.append([str(images), str(cases), f"{optimal:.0%}", f"{np.mean(gaps):.1%}", f"{max(gaps):.0%}"])
    return rows


def _gap(source: random.Random, images: int) -> float:
    """How much more than the oracle's the best single price costs, for a random device and delay budget."""
    cost = CostModel(_small_profile(source))
    waiting, active = images * cost.chunks_per_decode, source.randint(1, 3)
    prices = np.geomspace(0.05, 50.0, 40)
    found = [follow(cost, _table(cost, price, active, images), active, waiting) for price in prices]
    budget = source.uniform(min(delay for delay, _ in found), max(delay for delay, _ in found))
    chosen = min(spent for delay, spent in found if delay <= budget + 1e-9)
    return chosen / label_setting(cost, active, waiting, budget) - 1.0


def _table(cost: CostModel, price: float, active: int, images: int) -> Any:
    return build_table(cost, float(price), max_active=active, max_waiting=images)


def _small_profile(source: random.Random) -> Profile:
    chunks = tuple(source.uniform(0.01, 0.05) for _ in range(source.randint(2, 4)))
    unet = tuple(float(each) for each in np.cumsum([source.uniform(0.02, 0.1) for _ in range(3)]))
    shares = (source.uniform(0.0, 0.8), source.uniform(0.0, 1.0))
    both = min(unet[0], sum(chunks))
    pairs = Pairs((1,), (1.0,), ((unet[0] + shares[0] * both,),), ((sum(chunks) + shares[1] * both,),))
    cuts = (Granularity("whole", (sum(chunks) * 0.97,)), Granularity("fine", chunks))
    return Profile("m", "d", "float32", 64, 64, (1, 2, 3), unet, cuts, pairs, rows_per_sample=1)
