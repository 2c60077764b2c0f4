"""A tenfold burst of one tenant, in virtual time: what may pass the others' jobs is counted."""

from __future__ import annotations

import redis

from benchmarks.burst import LOUD, Play, Served

SLOTS = 4


def passed_by(jobs: list[Served], job: Served) -> int:
    """Jobs of the loud tenant that begin between a job's submission and its own beginning."""
    return sum(other.tenant == LOUD and job.submitted <= other.begun < job.begun for other in jobs)


def ahead(jobs: list[Served], job: Served) -> int:
    """Jobs of its own tenant that were not begun when it was submitted."""
    return sum(
        other.tenant == job.tenant and other.submitted < job.submitted and other.begun >= job.submitted
        for other in jobs
    )


def test_in_a_tenfold_burst_nobody_waits_for_more_than_what_was_released_and_one_turn_each(
    redis_client: redis.Redis,
) -> None:
    play = Play(SLOTS, tenants=4, rate=0.7, length_s=40.0, burst=(10.0, 25.0), seed=7)
    jobs = play.run(redis_client)
    assert all(job.begun >= 0 for job in jobs)
    assert max(passed_by(jobs, job) for job in jobs if job.tenant == LOUD) > 10 * SLOTS, "the burst was none"
    for job in jobs:
        if job.tenant != LOUD:
            # Released jobs keep their place (at most a capacity of them wait), then the tenants take turns.
            assert passed_by(jobs, job) <= 2 * SLOTS + ahead(jobs, job) + 1, job
