"""What-if: how many devices a policy needs for a latency objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from synerdiff.policy.errors import PolicyError
from synerdiff.policy.planner import Planner
from synerdiff.policy.simulator.figures import Outcome, percentile
from synerdiff.policy.simulator.jobs import SimJob
from synerdiff.policy.simulator.run import Scenario, simulate

MOST_GPUS = 256


def check_slo(slo_s: float | None) -> None:
    """Refuse an objective that is not a time."""
    if slo_s is not None and not slo_s > 0.0:
        raise PolicyError("slo", f"must be greater than 0; got {slo_s!r}")


def meets(outcome: Outcome, slo_s: float) -> bool:
    """Whether 99% of the jobs took at most ``slo_s`` seconds."""
    return percentile(outcome.e2e_s, 0.99) <= slo_s


def gpus_needed(policy: str, jobs: Sequence[SimJob], scenario: Scenario, slo_s: float, planner: Planner) -> int | None:
    """The fewest devices with a P99 E2E of at most ``slo_s`` seconds; None if 256 are too few."""
    check_slo(slo_s)

    def enough(gpus: int) -> bool:
        return meets(simulate(policy, jobs, replace(scenario, gpus=gpus), planner), slo_s)

    high = 1
    while not enough(high):
        high *= 2
        if high > MOST_GPUS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
