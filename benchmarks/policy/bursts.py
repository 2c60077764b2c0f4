"""Recovery from a burst: what each draw of arrivals takes, beside what it would take any policy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.policy.study import PROFILES, Study, Table
from synerdiff.policy import Profile
from synerdiff.policy.shipped import shipped_profile
from synerdiff.policy.simulator import Outcome, Scenario, SimJob, burst, simulate

BASE_LOAD, FACTOR = 0.4, 5.0
START_S, END_S = 200.0, 230.0
DRAWS = (1, 11, 12)
CLASSES = {"exact": "synerdiff-exact", "balanced": "synerdiff"}


def recovery_s(found: Outcome, jobs: Sequence[SimJob], start_s: float, end_s: float) -> float:
    """Seconds from the burst's end until no more jobs are in the system than on average before it."""
    arrived = np.array([job.at for job in jobs])
    ended = np.array(found.finished_at)

    def in_system(at: float) -> int:
        return int(((arrived <= at) & (ended > at)).sum())

    usual = float(np.mean([in_system(at) for at in np.arange(start_s / 4, start_s, 1.0)]))
    return next((t - end_s for t in np.arange(end_s, end_s + 400.0, 0.5) if in_system(t) <= usual), float("inf"))


def arithmetic_s(jobs: Sequence[SimJob], capacity: float, start_s: float, end_s: float, steps: int) -> float:
    """The recovery of a device that works at ``capacity`` (images a second) from the burst's first moment on: seconds
    from the burst's end until it has done what arrived. No policy beats it without a higher capacity."""
    at = np.array([job.at for job in jobs])
    done = np.cumsum([job.n * job.steps / steps for job in jobs])
    before = float(done[at < start_s][-1])
    for t in np.arange(end_s, end_s + 400.0, 0.5):
        if float(done[at < t][-1]) - before <= capacity * (t - start_s):
            return float(t - end_s)
    return float("inf")


def burst_jobs(study: Study, profile: Profile) -> list[SimJob]:
    """Poisson arrivals at ``BASE_LOAD``, and ``FACTOR`` times as many while the burst lasts."""
    rate = BASE_LOAD * study.planner.ratings(profile).curve.best_rate
    length_s = END_S - START_S
    mix = study.mix(profile)
    return burst(rate, mix, factor=FACTOR, start_s=START_S, length_s=length_s, end_s=500.0, seed=study.seed)


def recoveries(study: Study, profile: Profile, scenario: Scenario) -> list[tuple[float, float]]:
    """Seconds that ``exact``, then ``balanced`` images take to recover, each with the arithmetic for its capacity."""
    jobs, best = burst_jobs(study, profile), study.planner.ratings(profile).curve.best_rate
    found = []
    for policy in CLASSES.values():
        took = recovery_s(simulate(policy, jobs, scenario, study.planner), jobs, START_S, END_S)
        capacity = best * study.capacity(policy, profile, scenario)
        found.append((took, arithmetic_s(jobs, capacity, START_S, END_S, profile.steps)))
    return found


def bursts_table(study: Study, names: Sequence[str] = PROFILES) -> Table:
    """Every profile on several draws: the work that a burst brings varies, and with it the recovery."""
    rows = [["profile", "seed", "work that arrives in 30 s", *(f"{name} (arithmetic)" for name in CLASSES)]]
    for name in names:
        profile = shipped_profile(name)
        for seed in DRAWS:
            draw = Study(study.jobs, seed, study.planner)
            arrived = [job for job in burst_jobs(draw, profile) if START_S <= job.at < END_S]
            images = sum(job.n * job.steps / profile.steps for job in arrived)
            work_s = images / study.planner.ratings(profile).curve.best_rate
            taken = [f"{took:.1f} ({bare:.1f}) s" for took, bare in recoveries(draw, profile, Scenario(profile))]
            rows.append([name, str(seed), f"{work_s:.0f} s", *taken])
    return rows
