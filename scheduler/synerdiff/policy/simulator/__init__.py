"""The simulator: whole fleets in virtual time, driven by the policy code that the running fleet uses."""

from synerdiff.policy.simulator.figures import Outcome, percentile, summary
from synerdiff.policy.simulator.jobs import Mix, SimJob, at_once, burst, evenly, parse_trace, poisson
from synerdiff.policy.simulator.run import POLICIES, Scenario, check_policies, simulate

__all__ = [
    "POLICIES",
    "Mix",
    "Outcome",
    "Scenario",
    "SimJob",
    "at_once",
    "burst",
    "check_policies",
    "evenly",
    "parse_trace",
    "percentile",
    "poisson",
    "simulate",
    "summary",
]
