"""Slow exact answers for small cases; the tests measure the planner against them.

:func:`brute_force` tries every slot sequence of the priced problem. :func:`label_setting` solves the constrained
one: least waiting cost to work off c chunks while the UNet loses at most a given time; one state keeps every
(time, cost) pair that no other dominates, since a single best value a state is wrong (often far) from optimal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from synerdiff.policy.cost import CostModel
from synerdiff.policy.plan import PlanTable


@dataclass(frozen=True, slots=True)
class Slot:
    """One possible slot: ``delay_s`` is T - U(n) beside a UNet call, else T; ``waiting_s`` the integral I."""

    chunks: int
    run_unet: bool
    delay_s: float
    waiting_s: float


def slots_at(cost: CostModel, active: int, waiting: int) -> list[Slot]:
    """Every slot from ``waiting`` chunks: all chunk counts and granularities, with and without the UNet.

    Written from the definition alone, with none of the table's shortcuts but its age bound.
    """
    per_decode = cost.chunks_per_decode
    position, images = -waiting % per_decode, -(-waiting // per_decode)
    found = []
    for cut in cost.cuts:
        length = {int(end): float(seconds) for end, seconds in zip(cut.ends, cut.seconds, strict=True)}
        if position not in length or position == per_decode:
            continue
        for chunks in range(1, waiting + 1):
            whole, rest = divmod(position + chunks, per_decode)
            if rest not in length:
                continue
            taken = whole * length[per_decode] + length[rest] - length[position]
            ends = [(i + 1) * length[per_decode] - length[position] for i in range(whole)]
            alone = float(cost.alone(taken))
            found.append(Slot(chunks, False, alone, (images - whole) * alone + sum(ends)))
            if active and chunks >= min(images, waiting):
                rows = active * cost.profile.rows_per_sample
                slot, done = (float(each) for each in cost.beside(rows, taken))
                inside = sum(done * end / taken for end in ends)
                delay = slot - float(cost.unet(rows))
                found.append(Slot(chunks, True, delay, (images - whole) * slot + inside))
    return found


def brute_force(cost: CostModel, active: int, waiting: int, price: float) -> float:
    """The least priced cost over all slot sequences."""

    @cache
    def best(left: int) -> float:
        if left == 0:
            return 0.0
        return min(s.waiting_s + price * s.delay_s + best(left - s.chunks) for s in slots_at(cost, active, left))

    return best(waiting)


def label_setting(cost: CostModel, active: int, waiting: int, delay_budget_s: float) -> float:
    """The least waiting cost whose slots delay the UNet by at most the budget; infinite if none does."""
    labels: dict[int, list[tuple[float, float]]] = {waiting: [(0.0, 0.0)]}
    for left in range(waiting, 0, -1):
        for slot in slots_at(cost, active, left):
            for delay, spent in labels.get(left, []):
                reached = (delay + slot.delay_s, spent + slot.waiting_s)
                if reached[0] <= delay_budget_s + 1e-9:
                    labels.setdefault(left - slot.chunks, []).append(reached)
        labels = {state: _undominated(kept) for state, kept in labels.items()}
    return min((spent for _, spent in labels.get(0, [])), default=float("inf"))


def _undominated(labels: list[tuple[float, float]]) -> list[tuple[float, float]]:
    kept: list[tuple[float, float]] = []
    for delay, spent in sorted(labels):
        if not kept or spent < kept[-1][1] - 1e-12:
            kept.append((delay, spent))
    return kept


def follow(cost: CostModel, table: PlanTable, active: int, waiting: int) -> tuple[float, float]:
    """Delay and waiting cost of the slots that a table chooses until nothing waits."""
    delay = spent = 0.0
    while waiting:
        action = table.action(active, waiting)
        options = slots_at(cost, active, waiting)
        same = [s for s in options if (s.chunks, s.run_unet) == (action.chunks, action.run_unet)]
        chosen = min(same, key=lambda slot: slot.waiting_s)
        delay, spent, waiting = delay + chosen.delay_s, spent + chosen.waiting_s, waiting - chosen.chunks
    return delay, spent
