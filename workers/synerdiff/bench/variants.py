"""The engine's policies and the ablation's: SynerDiff with one mechanism taken away at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from synerdiff.policy.plan import Plan, PlanTable, PlanView, default_plan

Executor = Literal["auto", "serial", "threads", "streams"]


@dataclass(frozen=True, slots=True)
class Variant:
    """How the engine is run.

    ``quality`` replaces the jobs' own class. ``planned``: plans come from the scheduler, else the built-in one holds.
    ``steered``: the steering sets the skip threshold; else ``skip_above`` stays at half the batch cap.
    ``chunked``: a decode may be cut; ``naive`` decodes whole images beside every UNet call. ``executor`` None is the
    profile's. ``cap`` overrides the batch cap. ``what`` says it in a table.
    """

    quality: str = "exact"
    planned: bool = True
    steered: bool = True
    chunked: bool = True
    naive: bool = False
    executor: Executor | None = None
    cap: int | None = None
    what: str = ""


POLICIES: dict[str, Variant] = {
    "continuous": Variant(planned=False, executor="serial"),
    "continuous-naive": Variant(planned=False, naive=True, executor="threads"),
    "synerdiff-exact": Variant(),
    "synerdiff": Variant("balanced"),
    "synerdiff-fast": Variant("fast"),
}

_WHOLE = POLICIES["synerdiff"]

ABLATION: dict[str, Variant] = {
    "synerdiff": replace(_WHOLE, what="everything"),
    "no-batching": replace(_WHOLE, cap=1, what="batch cap 1"),
    "no-chunking": replace(_WHOLE, chunked=False, what="decodes whole, never beside the UNet"),
    "other-executor": replace(_WHOLE, executor="threads", what="decodes beside the UNet on a second thread"),
    "no-skip-cfg": replace(_WHOLE, quality="exact", what="every unconditional row runs"),
    "no-planner": replace(_WHOLE, planned=False, what="built-in plan: decode alone and at once"),
    "no-controller": replace(_WHOLE, steered=False, what="skips above half the batch cap, which nothing moves"),
}


def without_chunks(view: PlanView) -> PlanView:
    """The same plan with whole decodes, alone and at once."""
    whole = default_plan(view.plan.batch_cap, rows_per_sample=view.table.rows_per_sample)
    head: Plan = replace(view.plan, table_hash=whole.plan.table_hash)
    table: PlanTable = whole.table
    return PlanView(head, table)


def with_threshold(view: PlanView, skip_above: int) -> PlanView:
    """The same plan with another skip threshold."""
    return PlanView(replace(view.plan, skip_above=skip_above), view.table)
