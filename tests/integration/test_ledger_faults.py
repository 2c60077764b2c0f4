"""The ledger when things break: dead and hung workers, poison, a full, silent or wrong Redis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis

from synerdiff.cli.embedded import EmbeddedRedis
from synerdiff.ledger import Claim, Ledger, LedgerConfig, ManualClock, Refused, Renewal, WorkerReport
from synerdiff.protocol import ErrorInfo, Job, JobEvent, JobResult, JobState, Receipt, Timings
from synerdiff.protocol.errors import IdempotencyConflict, LedgerUnavailable, Overloaded, UnsafeBroker
from synerdiff.settings import Settings
from synerdiff.workers.worker import warn_of_acl
from tests.ledger_audit import audit
from tests.support import wait_until

POOL = "pool"
LEASE_S = TTL_S = 10.0
TRIAL_S = 0.7  # half a second past the crash, and what it takes to come there from the latents
RESULT = JobResult(images=[], timings=Timings(), receipt=Receipt())


class Fleet:
    """Workers of a simulated fleet on a clock moved by hand; some jobs kill the worker that runs them."""

    def __init__(self, client: redis.Redis, *, capacity: int, poison: set[str] | None = None) -> None:
        self.clock = ManualClock()
        self.ledger = Ledger(client, LedgerConfig(clock=self.clock))
        self.capacity, self.poison = capacity, poison or set()
        self.claims: dict[str, dict[str, Claim]] = {}
        self.born = 0
        self.lease_s, self.ttl_s = LEASE_S, TTL_S

    def start_worker(self) -> str:
        self.born += 1
        name = f"w{self.born}"
        self.claims[name] = {}
        self.beat(name)
        return name

    def beat(self, name: str) -> None:
        self.ledger.heartbeat(WorkerReport(name=name, pool=POOL, capacity=self.capacity), self.ttl_s)

    def claim(self, name: str, job_id: str) -> Claim | Refused:
        answer = self.ledger.claim(job_id, worker=name, nonce=f"{name}-{job_id}-{self.clock.now}", lease_s=self.lease_s)
        if isinstance(answer, Claim):
            self.claims[name][job_id] = answer
        return answer

    def prove(self, name: str, claim: Claim) -> tuple[str, ...]:
        """A job that ran alone for long enough is let back into company; the jobs to send hints for."""
        if not claim.alone or self.clock.now - claim.claimed_at < TRIAL_S:
            return ()
        del self.claims[name][claim.job.id]
        return self.ledger.hand_back(claim.job.id, claim.token, "it got past the crash", "proven").released

    def second(self, *, finish: bool, advance_s: float = 1.0) -> None:
        """One second: every live worker beats and renews, hints go round, some jobs finish, poison kills."""
        self.clock.advance(advance_s)
        self.ledger.reap(POOL)
        hints = self.ledger.due_hints(POOL, 100)
        for n, name in enumerate(list(self.claims)):
            self.beat(name)
            held = self.claims[name]
            self.ledger.renew(name, {job_id: claim.token for job_id, claim in held.items()}, self.lease_s)
            for job_id in list(held) if finish else []:
                if job_id not in self.poison:
                    assert self.ledger.finish(job_id, held.pop(job_id).token, RESULT).accepted
            for job_id in hints[n :: len(self.claims)]:
                if len(held) < self.capacity:
                    self.claim(name, job_id)
            if finish and self.poison & set(held):
                del self.claims[name]
                self.start_worker()


def submit(ledger: Ledger, *ids: str, **fields: Any) -> None:
    jobs = [Job(id=job_id, model="m", prompt="p", width=64, height=64, seed=1, **fields) for job_id in ids]
    ledger.submit_many(jobs, POOL)


def state(ledger: Ledger, job_id: str) -> JobState:
    view = ledger.get(job_id)
    assert view is not None
    return view.state


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
        claim = fleet.claim(name, "j")
        assert isinstance(claim, Claim)
        for kind, step in [report.split() for report in reports]:
            event = JobEvent.model_validate({"kind": kind, "step": step, "steps": 20})
            assert fleet.ledger.progress("j", claim.token, event)
        fleet.ledger.hand_back("j", claim.token, "it broke", "crashed" if claim.asides else "aside")
        fleet.clock.advance(1)
    for _ in range(2):  # on trial it may have to leave its worker, and be on trial again
        alone = fleet.claim(name, "j")
        assert isinstance(alone, Claim)
        assert (alone.alone, alone.clear) == (True, clear)
        fleet.ledger.progress_many([("j", alone.token, JobEvent(kind="step", step=step, steps=20)) for step in (1, 9)])
        fleet.ledger.hand_back("j", alone.token, "the worker is leaving")
        fleet.clock.advance(1)


@pytest.mark.parametrize(("n", "step", "trial", "clear"), [(1, 7, 7, 9), (1, 0, 3, 5), (2, 7, 7, None)])
def test_an_engine_that_crashed_under_a_living_worker_is_known_to_the_step(
    redis_client: redis.Redis, n: int, step: int, trial: int, clear: int | None
) -> None:
    """Of several images some may be far ahead of the slowest."""
    fleet = Fleet(redis_client, capacity=1)
    name = fleet.start_worker()
    submit(fleet.ledger, "j", n=n)
    claim = fleet.claim(name, "j")
    assert isinstance(claim, Claim)
    fleet.ledger.keep("j", claim.token, 3 * n, b"latents", 60.0)
    fleet.ledger.hand_back("j", claim.token, "it broke", "crashed", step)
    fleet.clock.advance(1)
    alone = fleet.claim(name, "j")
    assert isinstance(alone, Claim)
    assert (alone.alone, alone.trial, alone.clear) == (True, trial, clear)


def test_a_job_has_company_again_once_and_after_a_second_crash_runs_alone_to_its_end(redis_client: redis.Redis) -> None:
    fleet = Fleet(redis_client, capacity=1)
    name = fleet.start_worker()
    submit(fleet.ledger, "j")
    first = fleet.claim(name, "j")
    assert isinstance(first, Claim)
    fleet.ledger.progress("j", first.token, JobEvent(kind="step", step=3, steps=9))
    fleet.ledger.hand_back("j", first.token, "it broke", "crashed")
    fleet.clock.advance(1)
    alone = fleet.claim(name, "j")
    assert isinstance(alone, Claim)
    assert (alone.alone, alone.trial) == (True, 3)
    assert fleet.ledger.hand_back("j", alone.token, "proven", "proven").released == ("j",)
    assert fleet.ledger.hand_back("j", alone.token, "proven", "proven").accepted  # the reply was lost
    fleet.clock.advance(1)
    company = fleet.claim(name, "j")
    assert isinstance(company, Claim)
    assert (company.alone, company.trial) == (False, None)
    fleet.ledger.hand_back("j", company.token, "it broke", "crashed")
    fleet.clock.advance(1)
    last = fleet.claim(name, "j")
    assert isinstance(last, Claim)
    assert (last.alone, last.trial, last.attempts) == (True, None, 0)


def test_the_next_suspects_hint_comes_at_once_and_is_for_the_worker_that_is_set_aside(
    redis_client: redis.Redis,
) -> None:
    fleet = Fleet(redis_client, capacity=2)
    aside, busy = fleet.start_worker(), fleet.start_worker()
    submit(fleet.ledger, "a", "b", "c")
    for job_id in ("a", "b"):
        claim = fleet.claim(aside, job_id)
        assert isinstance(claim, Claim)
        fleet.ledger.hand_back(job_id, claim.token, "it broke", "crashed")
    assert isinstance(fleet.claim(busy, "c"), Claim)
    fleet.clock.advance(1)
    alone = fleet.claim(aside, "a")
    assert isinstance(alone, Claim)
    assert fleet.claim(busy, "b") == Refused("busy")
    assert fleet.ledger.finish("a", alone.token, RESULT).released == ("b",)
    assert fleet.claim(busy, "b") == Refused("elsewhere")
    assert isinstance(fleet.claim(aside, "b"), Claim)
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
    claim = fleet.claim(name, "hung")
    assert isinstance(claim, Claim)
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
    assert isinstance(fleet.claim(dead, "j"), Claim)
    living = fleet.start_worker()
    assert isinstance(held := fleet.claim(living, "k"), Claim)
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
    fleet = Fleet(redis_client, capacity=2)
    name = fleet.start_worker()
    submit(fleet.ledger, "j")
    claim = fleet.claim(name, "j")
    assert isinstance(claim, Claim)
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
    claim = fleet.claim(name, "running")
    assert isinstance(claim, Claim)
    fleet.clock.advance(20)
    assert fleet.ledger.renew(name, {"running": claim.token}, LEASE_S) == {"running": Renewal.EXPIRED}
    assert not fleet.ledger.finish("running", claim.token, RESULT).accepted
    assert set(fleet.ledger.reap(POOL).expired) == {"queued", "late"}
    assert state(fleet.ledger, "queued") is JobState.EXPIRED


def test_images_that_come_after_the_deadline_are_no_result(redis_client: redis.Redis) -> None:
    fleet = Fleet(redis_client, capacity=1)
    name = fleet.start_worker()
    submit(fleet.ledger, "j", deadline_s=5.0)
    claim = fleet.claim(name, "j")
    assert isinstance(claim, Claim)
    fleet.clock.advance(5)
    answer = fleet.ledger.finish("j", claim.token, RESULT)
    assert (answer.accepted, answer.state) == (False, JobState.EXPIRED)


def test_a_worker_cannot_renew_with_the_token_of_an_earlier_claim(redis_client: redis.Redis) -> None:
    fleet = Fleet(redis_client, capacity=1)
    name = fleet.start_worker()
    submit(fleet.ledger, "j")
    first = fleet.claim(name, "j")
    assert isinstance(first, Claim)
    fleet.ledger.hand_back("j", first.token, "try again")
    fleet.clock.advance(1)
    second = fleet.claim(name, "j")
    assert isinstance(second, Claim)
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
    fleet = Fleet(redis_client, capacity=1)
    name = fleet.start_worker()
    submit(fleet.ledger, "j")
    claim = fleet.claim(name, "j")
    assert isinstance(claim, Claim)
    assert fleet.ledger.cancel("j").accepted
    assert fleet.ledger.renew(name, {"j": claim.token}, LEASE_S) == {"j": Renewal.CANCELLED}
    assert not fleet.ledger.finish("j", claim.token, RESULT).accepted
    assert fleet.ledger.cancel("j").accepted
    assert [event.kind for event in fleet.ledger.events("j")] == ["queued", "started", "cancelled"]


def test_an_idempotency_key_gives_the_first_job_again(redis_client: redis.Redis) -> None:
    ledger = Ledger(redis_client)
    first = Job(model="m", prompt="p", width=64, height=64)
    again = Job(model="m", prompt="p", width=64, height=64)
    assert first.seed != again.seed
    assert ledger.submit(first, POOL, idempotency_key="k").created
    answer = ledger.submit(again, POOL, idempotency_key="k")
    assert (answer.id, answer.created) == (first.id, False)
    with pytest.raises(IdempotencyConflict, match="'k'"):
        ledger.submit(Job(model="m", prompt="q", width=64, height=64), POOL, idempotency_key="k")
    with pytest.raises(IdempotencyConflict):
        ledger.submit(Job(id=first.id, model="m", prompt="q", width=64, height=64), POOL)


def test_a_deleted_job_leaves_a_key_that_is_another_jobs_by_now(redis_client: redis.Redis) -> None:
    ledger = Ledger(redis_client)
    first, second = (Job(model="m", prompt="p", width=64, height=64, seed=seed) for seed in (1, 2))
    ledger.submit(first, POOL, idempotency_key="k")
    redis_client.delete("synerdiff:idem:default:k")
    ledger.submit(second, POOL, idempotency_key="k")
    ledger.delete(first.id)
    assert str(redis_client.get("synerdiff:idem:default:k")).startswith(second.id)
    ledger.delete(second.id)
    assert not redis_client.exists("synerdiff:idem:default:k")


def test_an_idempotency_key_lives_as_long_as_its_jobs_record(redis_client: redis.Redis) -> None:
    ledger = Ledger(redis_client, LedgerConfig(result_ttl_s=0.2, dead_ttl_s=1000.0, max_attempts=1))
    job = Job(model="m", prompt="p", width=64, height=64, seed=1)
    key, record = "synerdiff:idem:default:k", f"synerdiff:job:{job.id}"

    def again() -> str:
        return ledger.submit(Job(model="m", prompt="p", width=64, height=64, seed=1), POOL, idempotency_key="k").id

    ledger.submit(job, POOL, idempotency_key="k")
    submitted_at = ledger.server_time()
    wait_until(lambda: ledger.server_time() > submitted_at + 0.4, what="longer than a result is kept")
    assert (again(), redis_client.pttl(key)) == (job.id, -1)
    ledger.heartbeat(WorkerReport(name="w", pool=POOL, capacity=1), TTL_S)
    for turn in range(2):  # in company, then alone
        claim = ledger.claim(job.id, worker="w", nonce=f"n{turn}", lease_s=LEASE_S)
        assert isinstance(claim, Claim)
        ledger.hand_back(job.id, claim.token, "it broke", "crashed")
    assert state(ledger, job.id) is JobState.DEAD
    assert redis_client.pttl(key) > 900_000
    assert redis_client.pexpiretime(key) == redis_client.pexpiretime(record)
    assert ledger.retry(job.id).created
    assert (again(), redis_client.pttl(key)) == (job.id, -1)
    ledger.cancel(job.id)
    wait_until(lambda: not redis_client.exists(record), what="the record to go")
    wait_until(lambda: not redis_client.exists(key), what="the key to go with it")
    other = again()
    assert other != job.id
    ledger.delete(other)
    assert not redis_client.exists(key)


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


@pytest.fixture
def full_redis(own_redis: EmbeddedRedis) -> Iterator[redis.Redis]:
    """A Redis whose memory is full; what is in it was put there before."""
    client = redis.Redis.from_url(own_redis.url, decode_responses=True)
    yield client
    client.config_set("maxmemory", 0)
    client.close()


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


def test_a_full_redis_refuses_submits_and_lets_jobs_end(full_redis: redis.Redis) -> None:
    ledger = Ledger(full_redis)
    ledger.heartbeat(WorkerReport(name="w", pool=POOL, capacity=2), 60)
    submit(ledger, "a", "b", "c", "d")
    first = ledger.claim("a", worker="w", nonce="1", lease_s=10)
    assert isinstance(first, Claim)
    full_redis.config_set("maxmemory", 1)
    with pytest.raises(Overloaded, match="out of memory"):
        submit(ledger, "e")
    assert ledger.renew("w", {"a": first.token}, 10) == {"a": Renewal.HELD}
    assert ledger.finish("a", first.token, RESULT).accepted
    second = ledger.claim("b", worker="w", nonce="2", lease_s=10)
    assert isinstance(second, Claim)
    assert ledger.fail("b", second.token, ErrorInfo(code="x", message="y")).accepted
    third = ledger.claim("c", worker="w", nonce="3", lease_s=10)
    assert isinstance(third, Claim)
    assert ledger.hand_back("c", third.token, "stopping").accepted
    assert ledger.cancel("d").accepted
    ledger.reap(POOL)
    full_redis.config_set("maxmemory", 0)
    audit(full_redis, POOL)


def test_an_evicting_redis_is_refused_with_the_cure(own_redis: EmbeddedRedis) -> None:
    ledger = Ledger.connect(own_redis.url)
    ledger.check_server()
    ledger.client.config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(UnsafeBroker, match="CONFIG SET maxmemory-policy noeviction"):
        ledger.check_server()
    ledger.check_server(allow_unsafe=True)
    ledger.close()


def test_a_worker_says_that_an_older_acl_file_keeps_idempotency_keys(
    redis_client: redis.Redis, redis_server: EmbeddedRedis, capsys: pytest.CaptureFixture[str]
) -> None:
    admin: Any = redis_client  # redis-py leaves execute_command untyped
    admin.execute_command("ACL", "SETUSER", "older", "on", ">pw", "~synerdiff:job:*", "+@all")
    older = Ledger.connect(f"redis://older:pw@127.0.0.1:{redis_server.port}/0")
    try:
        warn_of_acl(older)
        assert "`synerdiff acl`" in capsys.readouterr().out
        admin.execute_command("ACL", "SETUSER", "older", "%W~synerdiff:idem:*")
        warn_of_acl(older)
        assert capsys.readouterr().out == ""
    finally:
        older.close()
        admin.execute_command("ACL", "DELUSER", "older")


def test_an_unreachable_redis_is_named_without_its_password() -> None:
    with pytest.raises(LedgerUnavailable, match=r"127\.0\.0\.1:1/3.*SYNERDIFF_REDIS_URL") as refusal:
        Ledger.connect("redis://user:s3cret@127.0.0.1:1/3")
    assert "s3cret" not in str(refusal.value)
    with pytest.raises(LedgerUnavailable, match="SYNERDIFF_REDIS_URL"):
        Ledger.connect("nonsense")


def test_a_stopped_redis_raises_and_a_restarted_one_has_everything(own_redis: EmbeddedRedis) -> None:
    ledger = Ledger.connect(own_redis.url)
    submit(ledger, "j")
    own_redis.stop()
    with pytest.raises(LedgerUnavailable):
        ledger.get("j")
    own_redis.start()
    assert state(ledger, "j") is JobState.QUEUED
    ledger.cancel("j")
    ledger.close()
