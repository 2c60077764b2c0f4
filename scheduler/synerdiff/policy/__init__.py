"""Policy: cost model, planner, controller, skip allowance and simulator. Pure: standard library and numpy."""

from synerdiff.policy.errors import PolicyError
from synerdiff.policy.keeping import keep_interval
from synerdiff.policy.plan import Action, Plan, PlanTable, PlanView, allows_skip, default_plan
from synerdiff.policy.profile import (
    Granularity,
    Pairs,
    Profile,
    SkipShare,
    parse_profile,
    planning_document,
    profile_document,
)
from synerdiff.policy.wire import parse_plan, parse_table, plan_head, plan_view, table_document

__all__ = [
    "Action",
    "Granularity",
    "Pairs",
    "Plan",
    "PlanTable",
    "PlanView",
    "PolicyError",
    "Profile",
    "SkipShare",
    "allows_skip",
    "default_plan",
    "keep_interval",
    "parse_plan",
    "parse_profile",
    "parse_table",
    "plan_head",
    "plan_view",
    "planning_document",
    "profile_document",
    "table_document",
]
