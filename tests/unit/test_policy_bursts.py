"""What the bench of bursts calls recovery, and the arithmetic beside it."""

from __future__ import annotations

import pytest

from benchmarks.policy.bursts import arithmetic_s, recovery_s
from synerdiff.policy.simulator import Outcome, SimJob


def arrivals() -> list[SimJob]:
    """0.4 images a second, and 2 in the 30 s from 200 s on."""
    times = [2.5 * n for n in range(200)]
    burst = [200.25 + n / 1.6 for n in range(48)]  # beside those of every second
    return [SimJob(at, steps=25) for at in sorted([*times, *burst])]


@pytest.mark.parametrize(("capacity", "seconds"), [(1.0, 50.0), (1.2, 30.0), (1.6, 10.0)])
def test_a_faster_device_has_done_what_a_burst_brought_sooner(capacity: float, seconds: float) -> None:
    found = arithmetic_s(arrivals(), capacity, 200.0, 230.0, 25)
    assert found == pytest.approx(seconds, abs=3.0), "30 s of what is too much, at the rate that is left"
    assert arithmetic_s(arrivals(), capacity, 200.0, 230.0, 50) < found, "they are half as much work"


def test_a_fleet_has_recovered_when_no_more_jobs_are_there_than_usual() -> None:
    jobs = arrivals()
    quick = Outcome("synerdiff", [1.0] * len(jobs), [job.at + 1.0 for job in jobs])
    late = [281.0 if 200.0 <= job.at < 281.0 else job.at + 1.0 for job in jobs]
    assert recovery_s(quick, jobs, 200.0, 230.0) <= 3.0
    assert 51.0 <= recovery_s(Outcome("synerdiff", [1.0] * len(jobs), late), jobs, 200.0, 230.0) <= 54.0
