"""The policies, the batch cap, and what planning costs."""

from __future__ import annotations

import time

from benchmarks.policy.study import PROFILES, Study, Table
from synerdiff.policy.planner import Planner
from synerdiff.policy.shipped import shipped_profile
from synerdiff.policy.simulator import POLICIES, Scenario, simulate, summary


def policies_table(study: Study, name: str) -> Table:
    """The seven policies, and ``balanced`` that waits for load: capacity, and mean and P99 E2E."""
    profile = shipped_profile(name)
    rows = [["policy", "images/s", *(f"mean / P99 at {load}" for load in (0.5, 0.7, 0.9))]]
    cases = [(policy, policy, Scenario(profile)) for policy in POLICIES]
    cases.append(("synerdiff, skipping from load", "synerdiff", Scenario(profile, skip_from="load")))
    best = study.planner.ratings(profile).curve.best_rate
    for label, policy, scenario in cases:
        cells = []
        for load in (0.5, 0.7, 0.9):
            found = summary(simulate(policy, study.arrivals(profile, load), scenario, study.planner).e2e_s)
            cells.append(f"{found['mean']:.2f} / {found['p99']:.2f} s")
        rows.append([label, f"{study.capacity(policy, profile, scenario) * best:.2f}", *cells])
    return rows


def cap_table(study: Study, name: str) -> Table:
    """Mean and P99 E2E by batch cap."""
    profile = shipped_profile(name)
    chosen = study.planner.ratings(profile).batch_cap
    rows = [["batch cap", *(f"mean / P99 at {load}" for load in (0.5, 0.7, 0.9))]]
    for cap in sorted({1, 2, 4, chosen, 2 * chosen}):
        cells = []
        for load in (0.5, 0.7, 0.9):
            jobs = study.arrivals(profile, load)
            found = summary(simulate("synerdiff-exact", jobs, Scenario(profile, cap=cap), study.planner).e2e_s)
            cells.append(f"{found['mean']:.2f} / {found['p99']:.2f} s")
        rows.append([f"{cap}{' (chosen)' if cap == chosen else ''}", *cells])
    return rows


def planning_table() -> Table:
    """CPU seconds to plan for a profile nobody has planned for: curve, batch cap and one table of 32 x 32."""
    rows = [["profile", "CPU s", "band of theta", "batch cap"]]
    for name in PROFILES:
        profile, planner = shipped_profile(name), Planner()
        began = time.process_time()
        view = planner.plan(profile, theta=1.0, version=1, skip_above=0)
        spent = time.process_time() - began
        low, high = planner.ratings(profile).curve.band
        rows.append([name, f"{spent:.2f}", f"{low:.3f} to {high:.3f}", str(view.batch_cap)])
    return rows
