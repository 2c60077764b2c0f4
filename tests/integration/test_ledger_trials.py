"""After a crash: who runs alone, for how long, and who comes next."""

from __future__ import annotations

import pytest
import redis

from synerdiff.ledger import Refused
from synerdiff.protocol import JobEvent, JobState
from synerdiff.settings import Settings
from tests.ledger_audit import audit
from tests.ledger_fleet import POOL, RESULT, Fleet, one_claimed, state, submit


@pytest.mark.parametrize("workers", [2, 4])
def test_the_last_of_a_killed_batch_of_eight_runs_again_within_15_s(redis_client: redis.Redis, workers: int) -> None:
    """Suspects run alone only until they got past the crash; two workers set one aside for them, four two."""
    fleet = Fleet(redis_client, capacity=8)
    fleet.lease_s, fleet.ttl_s = Settings().lease_s, Settings().worker_ttl_s
    first = fleet.start_worker()
    submit(fleet.ledger, *(ids := [f"j{n}" for n in range(8)]))
    fleet.second(finish=False)
    fleet.second(finish=False)
    assert len(fleet.claims[first]) == 8
    for job_id, claim in fleet.claims.pop(first).items():
        assert fleet.ledger.progress(job_id, claim.token, JobEvent(kind="step", step=5, steps=9))
    died = fleet.clock.now
    names = [fleet.start_worker() for _ in range(workers)]
    again: dict[str, float] = {}
    while len(again) < len(ids):
        for tenth in range(10):
            fleet.clock.advance(0.1) if tenth else fleet.second(finish=False, advance_s=0.1)
            for name in names:
                hints = [job_id for claim in list(fleet.claims[name].values()) for job_id in fleet.prove(name, claim)]
                for job_id in hints:
                    fleet.claim(name, job_id)
                for job_id, claim in fleet.claims[name].items():
                    assert not claim.alone or claim.trial == 5
                    again.setdefault(job_id, fleet.clock.now)
        assert fleet.clock.now - died < 60
    assert max(again.values()) - died <= 15.0
    for _ in range(10):
        fleet.second(finish=True)
    assert {state(fleet.ledger, job_id) for job_id in ids} == {JobState.SUCCEEDED}
    audit(redis_client, POOL)


@pytest.mark.parametrize(
    ("reports", "clear"),
    [
        (["step 1", "step 4", "step 9", "step 11"], 18),  # five steps between two reports, one more, and the crash
        (["step 1", "preview 3", "image 4", "step 5"], 11),  # pictures are no reports
        (["step 1"], None),
        (["step 6"], None),  # from a checkpoint: where it was before, it did not step here
        ([], 2),  # the first step is told at once
    ],
)
def test_a_trial_ends_by_what_a_job_stepped_between_two_reports(
    redis_client: redis.Redis, reports: list[str], clear: int | None
) -> None:
    fleet = Fleet(redis_client, capacity=1)
    name = fleet.start_worker()
    submit(fleet.ledger, "j")
    for _ in range(2):  # handed back unharmed, and claimed again: what an earlier claim told counts no more
        claim = fleet.granted(name, "j")
        for kind, step in [report.split() for report in reports]:
            event = JobEvent.model_validate({"kind": kind, "step": step, "steps": 20})
            assert fleet.ledger.progress("j", claim.token, event)
        fleet.ledger.hand_back("j", claim.token, "it broke", "crashed" if claim.asides else "aside")
        fleet.clock.advance(1)
    for _ in range(2):  # on trial it may have to leave its worker, and be on trial again
        alone = fleet.granted(name, "j")
        assert (alone.alone, alone.clear) == (True, clear)
        fleet.ledger.progress_many([("j", alone.token, JobEvent(kind="step", step=step, steps=20)) for step in (1, 9)])
        fleet.ledger.hand_back("j", alone.token, "the worker is leaving")
        fleet.clock.advance(1)


@pytest.mark.parametrize(("n", "step", "trial", "clear"), [(1, 7, 7, 9), (1, 0, 3, 5), (2, 7, 7, None)])
def test_an_engine_that_crashed_under_a_living_worker_is_known_to_the_step(
    redis_client: redis.Redis, n: int, step: int, trial: int, clear: int | None
) -> None:
    """Of several images some may be far ahead of the slowest."""
    fleet, name, claim = one_claimed(redis_client, n=n)
    fleet.ledger.keep("j", claim.token, 3 * n, b"latents", 60.0)
    fleet.ledger.hand_back("j", claim.token, "it broke", "crashed", step)
    fleet.clock.advance(1)
    alone = fleet.granted(name, "j")
    assert (alone.alone, alone.trial, alone.clear) == (True, trial, clear)


def test_a_job_has_company_again_once_and_after_a_second_crash_runs_alone_to_its_end(redis_client: redis.Redis) -> None:
    fleet, name, first = one_claimed(redis_client)
    fleet.ledger.progress("j", first.token, JobEvent(kind="step", step=3, steps=9))
    fleet.ledger.hand_back("j", first.token, "it broke", "crashed")
    fleet.clock.advance(1)
    alone = fleet.granted(name, "j")
    assert (alone.alone, alone.trial) == (True, 3)
    assert fleet.ledger.hand_back("j", alone.token, "proven", "proven").released == ("j",)
    assert fleet.ledger.hand_back("j", alone.token, "proven", "proven").accepted  # the reply was lost
    fleet.clock.advance(1)
    company = fleet.granted(name, "j")
    assert (company.alone, company.trial) == (False, None)
    fleet.ledger.hand_back("j", company.token, "it broke", "crashed")
    fleet.clock.advance(1)
    last = fleet.granted(name, "j")
    assert (last.alone, last.trial, last.attempts) == (True, None, 0)


def test_the_next_suspects_hint_comes_at_once_and_is_for_the_worker_that_is_set_aside(
    redis_client: redis.Redis,
) -> None:
    fleet = Fleet(redis_client, capacity=2)
    aside, busy = fleet.start_worker(), fleet.start_worker()
    submit(fleet.ledger, "a", "b", "c")
    for job_id in ("a", "b"):
        claim = fleet.granted(aside, job_id)
        fleet.ledger.hand_back(job_id, claim.token, "it broke", "crashed")
    fleet.granted(busy, "c")
    fleet.clock.advance(1)
    alone = fleet.granted(aside, "a")
    assert fleet.claim(busy, "b") == Refused("busy")
    assert fleet.ledger.finish("a", alone.token, RESULT).released == ("b",)
    assert fleet.claim(busy, "b") == Refused("elsewhere")
    fleet.granted(aside, "b")
    audit(redis_client, POOL)


def test_a_full_worker_is_set_aside_where_no_other_takes_the_suspect(redis_client: redis.Redis) -> None:
    """A full worker follows no hint, so it asks by itself: first whether, then for good."""
    fleet = Fleet(redis_client, capacity=1)
    broken, full, other = (fleet.start_worker() for _ in range(3))
    submit(fleet.ledger, "a", "b", "c")
    claim = fleet.granted(broken, "a")
    held = fleet.granted(full, "b")
    assert not fleet.ledger.set_aside(POOL, full, "take"), "nobody waits"
    fleet.ledger.hand_back("a", claim.token, "it broke", "crashed")
    fleet.clock.advance(1)
    assert not fleet.ledger.set_aside(POOL, full, "still"), "it is not set aside yet"
    assert fleet.ledger.set_aside(POOL, full, "ask") == "a"
    assert [fleet.ledger.set_aside(POOL, full, "take") for _ in range(2)] == ["a", "a"], "the reply was lost"
    assert fleet.ledger.set_aside(POOL, full, "still") == "a"
    assert not fleet.ledger.set_aside(POOL, other, "take"), "of three one is enough"
    audit(redis_client, POOL)
    assert fleet.claim(full, "a") == Refused("drain")
    fleet.ledger.hand_back("b", held.token, "a job had to run alone")
    alone = fleet.granted(full, "a")
    assert alone.alone
    assert not fleet.ledger.set_aside(POOL, full, "still"), "it has it"
    assert fleet.claim(full, "c") == Refused("alone")
    fleet.ledger.finish("a", alone.token, RESULT)
    fleet.clock.advance(1)
    fleet.granted(full, "c")
    audit(redis_client, POOL)
