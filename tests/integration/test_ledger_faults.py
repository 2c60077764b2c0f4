"""The ledger when things break: dead and hung workers, poison, late writes, deadlines."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from synerdiff.ledger import Claim, Ledger, LedgerConfig, ManualClock, Renewal, WorkerReport
from synerdiff.protocol import ErrorInfo, JobEvent, JobState
from synerdiff.settings import Settings
from tests.ledger_audit import audit
from tests.ledger_fleet import LEASE_S, POOL, RESULT, TTL_S, Fleet, one_claimed, state, submit


def test_a_dead_workers_jobs_run_again_within_15_s(redis_client: redis.Redis) -> None:
    fleet = Fleet(redis_client, capacity=4)
    first = fleet.start_worker()
    submit(fleet.ledger, *[f"j{n}" for n in range(4)])
    fleet.second(finish=False)
    fleet.second(finish=False)
    assert len(fleet.claims[first]) == 4
    del fleet.claims[first]
    died = fleet.clock.now
    fleet.start_worker()
    while not any(fleet.claims.values()):
        fleet.second(finish=False)
    assert fleet.clock.now - died <= 15
    for _ in range(10):
        fleet.second(finish=True)
    assert {state(fleet.ledger, f"j{n}") for n in range(4)} == {JobState.SUCCEEDED}
    audit(redis_client, POOL)


@pytest.mark.parametrize("workers", [1, 3])
def test_poison_dies_alone_and_takes_no_neighbour_with_it(redis_client: redis.Redis, workers: int) -> None:
    fleet = Fleet(redis_client, capacity=8, poison={"poison1", "poison2"})
    for _ in range(workers):
        fleet.start_worker()
    innocent = [f"j{n}" for n in range(30)]
    submit(fleet.ledger, *innocent[:4], "poison1", *innocent[4:20], "poison2", *innocent[20:])
    for _ in range(400):
        fleet.second(finish=True)
        if fleet.ledger.load(POOL).queued + fleet.ledger.load(POOL).running == 0:
            break
    assert {state(fleet.ledger, job_id) for job_id in innocent} == {JobState.SUCCEEDED}
    dead = fleet.ledger.list_jobs(state=JobState.DEAD)
    assert {view.id for view in dead} == {"poison1", "poison2"}
    assert all(view.attempts == 3 and view.error and "ran alone" in view.error.message for view in dead)
    audit(redis_client, POOL)
    assert fleet.ledger.retry("poison1").created
    assert {view.id for view in fleet.ledger.list_jobs(state=JobState.DEAD)} == {"poison2"}


def test_a_hung_job_runs_again_and_the_second_time_alone(redis_client: redis.Redis) -> None:
    fleet = Fleet(redis_client, capacity=2)
    name = fleet.start_worker()
    submit(fleet.ledger, "hung")
    fleet.ledger.reap(POOL)
    for round_ in range(2):
        fleet.clock.advance(30)
        fleet.beat(name)
        fleet.ledger.reap(POOL)
        fleet.ledger.due_hints(POOL, 10)
        assert isinstance(fleet.claim(name, "hung"), Claim), round_
        for _ in range(12):
            fleet.clock.advance(1)
            fleet.beat(name)
            reaped = fleet.ledger.reap(POOL)
            if reaped.requeued or reaped.quarantined:
                break
        assert (reaped.requeued, reaped.quarantined) == ((("hung",), ()), ((), ("hung",)))[round_]
    claim = fleet.granted(name, "hung")
    assert claim.alone


def test_after_a_paused_broker_every_lease_has_a_period_of_grace(redis_client: redis.Redis) -> None:
    fleet = Fleet(redis_client, capacity=2)
    name = fleet.start_worker()
    submit(fleet.ledger, "j")
    fleet.second(finish=False)
    fleet.second(finish=False)
    token = fleet.claims[name]["j"].token
    fleet.clock.advance(25)
    reaped = fleet.ledger.reap(POOL)
    assert reaped.grace
    assert not reaped.quarantined
    fleet.clock.advance(5)
    assert fleet.ledger.renew(name, {"j": token}, LEASE_S) == {"j": Renewal.HELD}
    assert fleet.ledger.finish("j", token, RESULT).accepted


def test_a_reaper_that_is_always_late_finds_the_dead(redis_client: redis.Redis) -> None:
    fleet = Fleet(redis_client, capacity=1)
    dead = fleet.start_worker()
    submit(fleet.ledger, "j", "k")
    fleet.granted(dead, "j")
    living = fleet.start_worker()
    held = fleet.granted(living, "k")
    found: list[tuple[bool, tuple[str, ...]]] = []
    for _ in range(6):
        fleet.clock.advance(6)
        fleet.beat(living)
        assert fleet.ledger.renew(living, {"k": held.token}, LEASE_S) == {"k": Renewal.HELD}
        reaped = fleet.ledger.reap(POOL)
        found.append((reaped.grace, reaped.quarantined))
    assert found == [(True, ())] * 3 + [(False, ()), (False, ("j",)), (False, ())]
    fleet.clock.advance(1)
    fleet.ledger.reap(POOL)
    fleet.clock.advance(6)
    assert fleet.ledger.reap(POOL).grace, "one that came round in time may be late again"


def test_a_renewal_revives_a_lapsed_lease_that_nobody_reaped(redis_client: redis.Redis) -> None:
    fleet, name, claim = one_claimed(redis_client)
    fleet.clock.advance(60)
    assert fleet.ledger.renew(name, {"j": claim.token}, LEASE_S) == {"j": Renewal.HELD}


def test_the_late_writer_changes_nothing(redis_client: redis.Redis) -> None:
    fleet = Fleet(redis_client, capacity=2)
    frozen = fleet.start_worker()
    submit(fleet.ledger, "j")
    fleet.second(finish=False)
    fleet.second(finish=False)
    old = fleet.claims.pop(frozen)["j"]
    other = fleet.start_worker()
    while "j" not in fleet.claims[other]:
        fleet.second(finish=False)
    assert not fleet.ledger.finish("j", old.token, RESULT).accepted
    assert not fleet.ledger.progress("j", old.token, JobEvent(kind="step", step=1))
    assert not fleet.ledger.fail("j", old.token, ErrorInfo(code="x", message="y")).accepted
    assert fleet.ledger.renew(frozen, {"j": old.token}, LEASE_S) == {"j": Renewal.LOST}
    assert fleet.ledger.finish("j", fleet.claims[other]["j"].token, RESULT).accepted


def test_a_deadline_ends_queued_and_running_jobs(redis_client: redis.Redis) -> None:
    fleet = Fleet(redis_client, capacity=1)
    name = fleet.start_worker()
    submit(fleet.ledger, "running", "queued", "late", deadline_s=20.0)
    claim = fleet.granted(name, "running")
    fleet.clock.advance(20)
    assert fleet.ledger.renew(name, {"running": claim.token}, LEASE_S) == {"running": Renewal.EXPIRED}
    assert not fleet.ledger.finish("running", claim.token, RESULT).accepted
    assert set(fleet.ledger.reap(POOL).expired) == {"queued", "late"}
    assert state(fleet.ledger, "queued") is JobState.EXPIRED


def test_images_that_come_after_the_deadline_are_no_result(redis_client: redis.Redis) -> None:
    fleet, _, claim = one_claimed(redis_client, deadline_s=5.0)
    fleet.clock.advance(5)
    answer = fleet.ledger.finish("j", claim.token, RESULT)
    assert (answer.accepted, answer.state) == (False, JobState.EXPIRED)


def test_a_worker_cannot_renew_with_the_token_of_an_earlier_claim(redis_client: redis.Redis) -> None:
    fleet, name, first = one_claimed(redis_client)
    fleet.ledger.hand_back("j", first.token, "try again")
    fleet.clock.advance(1)
    second = fleet.granted(name, "j")
    assert fleet.ledger.renew(name, {"j": first.token}, LEASE_S) == {"j": Renewal.LOST}
    assert fleet.ledger.renew(name, {"j": second.token}, LEASE_S) == {"j": Renewal.HELD}


def test_a_worker_not_seen_since_the_lapse_is_not_yet_judged(redis_client: redis.Redis) -> None:
    fleet = Fleet(redis_client, capacity=1)
    name = fleet.start_worker()
    submit(fleet.ledger, "j")
    fleet.ledger.reap(POOL)
    fleet.claim(name, "j")
    for _ in range(9):
        fleet.clock.advance(1)
        fleet.ledger.reap(POOL)
    fleet.beat(name)
    for _ in range(9):
        fleet.clock.advance(1)
        reaped = fleet.ledger.reap(POOL)
        assert not reaped.requeued + reaped.quarantined, "it may be dead or hung: too early to tell"
    fleet.clock.advance(1)
    assert fleet.ledger.reap(POOL).quarantined == ("j",)


def test_cancelling_a_running_job_reaches_its_holder_and_is_never_undone(redis_client: redis.Redis) -> None:
    fleet, name, claim = one_claimed(redis_client)
    assert fleet.ledger.cancel("j").accepted
    assert fleet.ledger.renew(name, {"j": claim.token}, LEASE_S) == {"j": Renewal.CANCELLED}
    assert not fleet.ledger.finish("j", claim.token, RESULT).accepted
    assert fleet.ledger.cancel("j").accepted
    assert [event.kind for event in fleet.ledger.events("j")] == ["queued", "started", "cancelled"]


def test_waiting_for_events_sees_the_end(redis_client: redis.Redis) -> None:
    ledger = Ledger(redis_client)
    submit(ledger, "j")
    (queued,) = ledger.events("j")
    assert queued.kind == "queued"
    assert ledger.events("j", after=queued.id, block_s=0.05) == []
    ledger.cancel("j")
    (event,) = ledger.events("j", after=queued.id, block_s=5)
    assert event.final
    assert ledger.events("j", after=event.id) == []


def test_the_slowest_tick_is_no_gap_in_reaping(redis_client: redis.Redis) -> None:
    """Given a scheduler of the longest period, when every other tick is lost, then a dead worker is still seen."""
    clock = ManualClock()
    ledger = Ledger(redis_client, replace(LedgerConfig.of(Settings(tick_s=2)), clock=clock))
    ledger.heartbeat(WorkerReport(name="w", pool=POOL, capacity=1), TTL_S)
    submit(ledger, "a")
    assert isinstance(ledger.claim("a", worker="w", nonce="1", lease_s=LEASE_S), Claim)
    ledger.reap(POOL)
    began = clock.now
    while not (reaped := ledger.reap(POOL)).quarantined:
        assert not reaped.grace
        assert clock.now - began < 15
        clock.advance(4.9)
