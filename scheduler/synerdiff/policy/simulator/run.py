"""The policies that the simulator compares, by the names that the bench uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from synerdiff.policy.allowance import SkipFrom
from synerdiff.policy.batch import batch_cap
from synerdiff.policy.controller import ControllerConfig
from synerdiff.policy.cost import CostModel
from synerdiff.policy.errors import PolicyError
from synerdiff.policy.plan import Plan, PlanTable, PlanView, default_plan
from synerdiff.policy.planner import Planner
from synerdiff.policy.profile import Profile
from synerdiff.policy.simulator.continuous import ContinuousRun, Steered
from synerdiff.policy.simulator.figures import Outcome, summary
from synerdiff.policy.simulator.jobs import SimJob, fit_to
from synerdiff.policy.simulator.pipeline import Batching, PipelineRun
from synerdiff.policy.steering import Load, Steering, ThetaMode

POLICIES = (
    "diffusers",
    "static",
    "continuous",
    "continuous-naive",
    "synerdiff-exact",
    "synerdiff",
    "synerdiff-fast",
)
QUALITY = {"synerdiff-exact": "exact", "synerdiff": "balanced", "synerdiff-fast": "fast"}
NAIVE_QUEUE = 256


@dataclass(frozen=True, slots=True)
class Scenario:
    """Where a trace is run: the devices, how theta is chosen, and the constants of the law.

    ``believed`` is the profile that the planner goes by where it is not the true one; ``plan`` replays a recorded
    plan instead of planning; ``cap`` overrides the batch cap; ``skip_from`` is when ``balanced`` skips.
    """

    profile: Profile
    gpus: int = 1
    theta: ThetaMode = "profile"
    controller: ControllerConfig = field(default_factory=ControllerConfig)
    believed: Profile | None = None
    plan: PlanView | None = None
    cap: int | None = None
    skip_from: SkipFrom = "start"


def check_policies(names: Sequence[str]) -> tuple[str, ...]:
    """Refuse unknown policies and an empty list."""
    for name in names:
        if name not in POLICIES:
            raise PolicyError("policies", f"must be among {', '.join(POLICIES)}; got {name!r:.40}")
    if not names:
        raise PolicyError("policies", "must not be empty")
    return tuple(dict.fromkeys(names))


def simulate(policy: str, jobs: Sequence[SimJob], scenario: Scenario, planner: Planner | None = None) -> Outcome:
    """Run one policy over the jobs in virtual time."""
    check_policies([policy])
    if scenario.gpus < 1:
        raise PolicyError("gpus", f"must be at least 1; got {scenario.gpus}")
    fit_to(jobs, scenario.profile.width, scenario.profile.height)
    cost = CostModel(scenario.profile)
    if policy == "diffusers":
        return PipelineRun(cost, jobs, Batching(), gpus=scenario.gpus, policy=policy).run()
    if policy == "static":
        return _tuned_static(cost, jobs, scenario)
    steered = _steered(policy, cost, scenario, planner or Planner())
    quality = QUALITY.get(policy, "exact")
    return ContinuousRun(cost, jobs, steered, gpus=scenario.gpus, policy=policy, quality=quality).run()


def _tuned_static(cost: CostModel, jobs: Sequence[SimJob], scenario: Scenario) -> Outcome:
    """Static batching with the cap and window that give it the best mean E2E on this very trace."""
    cap = scenario.cap or batch_cap(cost)
    best: Outcome | None = None
    measured = max(cost.profile.rows[-1] // cost.profile.rows_per_sample, 1)
    for images in sorted({max(1, cap // 2), cap, min(2 * cap, measured)}):
        for window_s in (0.0, 0.5 * cost.decode_s, 2.0 * cost.decode_s):
            batching = Batching(images, window_s)
            found = PipelineRun(cost, jobs, batching, gpus=scenario.gpus, policy="static").run()
            found.tuned = {"cap": images, "window_s": window_s}
            if best is None or summary(found.e2e_s)["mean"] < summary(best.e2e_s)["mean"]:
                best = found
    assert best is not None
    return best


def _steered(policy: str, cost: CostModel, scenario: Scenario, planner: Planner) -> Steered:
    cap = scenario.cap or batch_cap(cost)
    if policy == "continuous":
        rows_per_sample = cost.profile.rows_per_sample
        return Steered(default_plan(cap, rows_per_sample=rows_per_sample, granularity=cost.cuts[0].name))
    if policy == "continuous-naive":
        return Steered(naive_plan(cap, cost))
    if scenario.plan is not None:
        return Steered(_fitting(scenario.plan, cost))
    return planned(scenario, planner)


def _fitting(view: PlanView, cost: CostModel) -> PlanView:
    """Refuse a plan that was made for another profile, unless it is the built-in one, which needs none."""
    made_for, here = view.plan.profile_id, cost.profile.profile_id
    if made_for not in ("", here):
        raise PolicyError("plan.profile_id", f"must be {here}, the profile's; got {made_for!r:.40}")
    if cost.chunks_per_decode % view.table.chunks_per_decode:
        counts = f"{cost.chunks_per_decode}; got {view.table.chunks_per_decode}"
        raise PolicyError("plan.chunks_per_decode", f"must divide the profile's {counts}")
    return view


def planned(scenario: Scenario, planner: Planner) -> Steered:
    """Plans made each second by the code that the scheduler service runs."""
    ratings = planner.ratings(scenario.believed or scenario.profile, forced_cap=scenario.cap)
    steering = Steering(ratings, scenario.theta, scenario.controller, scenario.skip_from)
    versions = count(2)

    def view(load: Load, elapsed_s: float | None, version: int) -> PlanView:
        target = steering.target(load) if elapsed_s is None else steering.tick(load, elapsed_s)
        return planner.plan(ratings, theta=target.theta, version=version, skip_above=target.skip_above)

    def tick(load: Load, elapsed_s: float) -> tuple[PlanView, float, float | None]:
        made = view(load, elapsed_s, next(versions))
        return made, steering.state.y, made.plan.theta

    return Steered(view(Load(0, 0, 0.0, 0.0, scenario.gpus), None, 1), tick)


def naive_plan(cap: int, cost: CostModel) -> PlanView:
    """Continuous batching with a whole decode beside every UNet call while an image waits, whatever it delays."""
    waiting = np.minimum(np.arange(NAIVE_QUEUE + 1), 1)
    shape = (cap + 1, NAIVE_QUEUE + 1)
    unet = np.ones(shape, dtype=np.uint8)
    unet[0] = 0
    chunks = np.broadcast_to(waiting, shape).astype(np.uint16)
    table = PlanTable(
        profile_id=cost.profile.profile_id,
        rows_per_sample=cost.profile.rows_per_sample,
        chunks_per_decode=1,
        granularities=(cost.cuts[0].name,),
        unet=unet,
        chunks=chunks,
        granularity=np.zeros(shape, dtype=np.uint8),
        bound_slots=1,
        table_hash="naive",
    )
    return PlanView(Plan(1, cost.profile.profile_id, cap, cap, "naive"), table)
