"""Split a sequence of costs into consecutive groups that are about even."""

from __future__ import annotations

from collections.abc import Sequence


def group_under(costs: Sequence[float], limit: float) -> list[int]:
    """Group greedily so that no group costs more than ``limit`` (a single larger item stands alone).

    Returns:
        The length of each group; their sum is ``len(costs)``.
    """
    lengths: list[int] = []
    filled = limit
    for cost in costs:
        if lengths and filled + cost <= limit:
            lengths[-1] += 1
            filled += cost
        else:
            lengths.append(1)
            filled = cost
    return lengths


def balance(costs: Sequence[float], groups: int) -> list[int]:
    """Split into at most ``groups`` groups whose largest is as small as can be (by bisection on its size)."""
    low, high = max(costs), sum(costs)
    for _ in range(40):
        middle = (low + high) / 2
        if len(group_under(costs, middle)) <= groups:
            high = middle
        else:
            low = middle
    return group_under(costs, high)
