"""Plain rules for placing decodes, as plans: what the priced table is compared with."""

from __future__ import annotations

import numpy as np

from synerdiff.policy import Plan, PlanTable, PlanView
from synerdiff.policy.planner import Planner, Ratings
from synerdiff.policy.simulator.timing import SlotTimes
from synerdiff.policy.table import bound_slots

RULES = ("alone", "fill", "one chunk", "drain")


def rule_plan(rule: str, ratings: Ratings, planner: Planner) -> PlanView:
    """``alone``: decode at once, the UNet rests. ``fill``: as many of the finest chunks as hide under the UNet call.
    ``one chunk``: one of the finest beside each call. ``drain``: decode when the batch is empty."""
    cost, most = ratings.cost, max(planner.max_active, ratings.batch_cap)
    size = planner.max_waiting * cost.chunks_per_decode + 1
    unet, chunks = np.ones((most + 1, size), np.uint8), np.zeros((most + 1, size), np.uint16)
    fine, whole = len(cost.cuts) - 1, 0
    granularity = np.full((most + 1, size), fine, np.uint8)
    to_image_end = (np.arange(size) - 1) % cost.chunks_per_decode + 1
    to_image_end[0] = 0
    for active in range(most + 1):
        if rule == "alone" or active == 0:
            unet[active, 1:], chunks[active], granularity[active] = 0, to_image_end, whole
        elif rule == "fill":
            chunks[active] = np.minimum(np.arange(size), hidden_chunks(ratings, active))
        elif rule == "one chunk":
            chunks[active, 1:] = 1
    unet[0] = 0
    table = PlanTable(
        profile_id=cost.profile.profile_id,
        rows_per_sample=cost.profile.rows_per_sample,
        chunks_per_decode=cost.chunks_per_decode,
        granularities=tuple(cut.name for cut in cost.cuts),
        unet=unet,
        chunks=chunks,
        granularity=granularity,
        bound_slots=bound_slots(cost.chunks_per_decode, planner.max_waiting),
        table_hash=rule,
    )
    return PlanView(Plan(1, cost.profile.profile_id, ratings.batch_cap, ratings.batch_cap, rule), table)


def hidden_chunks(ratings: Ratings, active: int) -> int:
    """The finest chunks (one at least) that are done when a UNet call of ``active`` samples beside them is."""
    times, rows = SlotTimes(ratings.cost), active * ratings.cost.profile.rows_per_sample
    name, chunks = ratings.cost.cuts[-1].name, 1
    while chunks < 4 * ratings.cost.chunks_per_decode:
        _, done = ratings.cost.beside(rows, times.chunk_s(name, 0, chunks + 1))
        if float(done) > float(ratings.cost.beside(rows, 1e-9)[0]):
            return chunks
        chunks += 1
    return chunks
