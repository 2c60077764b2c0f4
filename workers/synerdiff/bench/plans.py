"""Plans of the baselines that the engine runs without a planner."""

from __future__ import annotations

import numpy as np

from synerdiff.policy.plan import Plan, PlanTable, PlanView


def naive_plan(cap: int) -> PlanView:
    """Decode a whole image beside every UNet call while one waits, whatever that costs either side."""
    table = PlanTable(
        profile_id="",
        rows_per_sample=2,
        chunks_per_decode=1,
        granularities=("whole",),
        unet=np.array([[0, 0], [1, 1]], dtype=np.uint8),
        chunks=np.array([[0, 1], [0, 1]], dtype=np.uint16),
        granularity=np.zeros((2, 2), dtype=np.uint8),
        bound_slots=1,
        table_hash="naive",
    )
    return PlanView(Plan(0, "", batch_cap=cap, skip_above=0, table_hash="naive"), table)
