"""What all tables share: the profiles, the loads, the arrivals and one planner."""

from __future__ import annotations

from synerdiff.policy import Profile
from synerdiff.policy.planner import Planner
from synerdiff.policy.simulator import Mix, Scenario, SimJob, at_once, poisson, simulate, summary

PROFILES = ("h100-sdxl-1024", "h100-sdxl-lcm-1024", "a100-sd15-512", "cpu-tiny-emoji-128")
LOADS = (0.3, 0.5, 0.7, 0.9)
Table = list[list[str]]


class Study:
    """One planner, one number of jobs a point and one seed of arrivals, for all tables."""

    def __init__(self, jobs: int, seed: int, planner: Planner | None = None) -> None:
        self.jobs = jobs
        self.seed = seed
        self.planner = planner or Planner()

    def mix(self, profile: Profile) -> Mix:
        return Mix((profile.steps,), guidance_scale=5.0 if profile.rows_per_sample == 2 else 1.0)

    def arrivals(self, profile: Profile, load: float) -> list[SimJob]:
        rate = load * self.planner.ratings(profile).curve.best_rate
        return poisson(rate, self.jobs, self.mix(profile), seed=self.seed)

    def mean(self, policy: str, profile: Profile, load: float, scenario: Scenario) -> float:
        return summary(simulate(policy, self.arrivals(profile, load), scenario, self.planner).e2e_s)["mean"]

    def capacity(self, policy: str, profile: Profile, scenario: Scenario) -> float:
        """Images a second at closed saturation, as a share of the best sustainable rate."""
        jobs = at_once(self.jobs // 2, self.mix(profile))
        found = simulate(policy, jobs, scenario, self.planner)
        return found.images_per_s / self.planner.ratings(profile).curve.best_rate
