"""Estimated times: what they say where the answer is known by arithmetic, and against a device in virtual time."""

from __future__ import annotations

import math
from typing import Any

import pytest

from synerdiff.api.estimate import Image, Pace, Usual, images_of
from synerdiff.api.forecast import Coming, made_in
from synerdiff.api.measured import Measured
from synerdiff.api.prospect import Prospect
from synerdiff.ledger import HeldJob, PoolLoad, WorkerReport
from synerdiff.ledger.values import SlotSpan
from synerdiff.protocol import Job

PACE = Pace((1.0, 1.5, 1.8, 2.0), decode_s=3.0, pixels=64 * 64, hold_s=3.0)
JOB = Job(id="mine", model="m", prompt="p", width=64, height=64, steps=10, seed=1)
NOTHING = Coming((), 0.0, Image("", 10.0))


def held(name: str, left: int = 10, *, images: int = 1, waiting: bool = False, steps: int = 10) -> HeldJob:
    return HeldJob(id=name, images=images, steps=steps, left=left, pixels=64 * 64, waiting=waiting)


def prospect(*jobs: HeldJob, queued: int = 0, running: int = 0, pace: Pace | None = PACE, **of: Any) -> Prospect:
    running += len(jobs)
    load = PoolLoad("m", queued=queued, running=running, outstanding_cost=float((queued + running) * JOB.cost))
    report = WorkerReport(name="w", pool="m", capacity=8, running=len(jobs), held=list(jobs))
    return Prospect(load, [report], pace, **of)


def test_images_in_the_batch_step_together_and_leave_when_they_are_done() -> None:
    made = made_in([Image("a", 4.0), Image("b", 10.0)], NOTHING, PACE)
    assert made["a"] == pytest.approx(4 * 1.5 + 3.0)
    assert made["b"] == pytest.approx(made["a"] + 6 * 1.0 + 3.0)
    together = made_in([Image("a", 10.0), Image("b", 10.0)], NOTHING, PACE)
    assert together["a"] == together["b"] == pytest.approx(10 * 1.5 + 2 * 3.0)


def test_images_past_the_cap_enter_as_others_leave() -> None:
    full = [Image(f"a{number}", 10.0) for number in range(4)]
    made = made_in([*full, Image("b", 10.0)], NOTHING, PACE)
    assert made["a0"] == pytest.approx(10 * 2.0 + 4 * 3.0)
    assert made["b"] == pytest.approx(made["a0"] + 10 * 1.0 + 3.0)


def test_what_joins_slows_the_others_from_then_on() -> None:
    made = made_in([Image("a", 10.0)], Coming([Image("b", 10.0)], 4.0, Image("", 10.0)), PACE)
    assert made["a"] == pytest.approx(4.0 + 6 * 1.5 + 3.0)
    assert made["b"] == pytest.approx(made["a"] + 4 * 1.0 + 3.0)


def test_jobs_that_go_on_arriving_keep_the_batch_full() -> None:
    alone = made_in([Image("a", 10.0)], NOTHING, PACE)["a"]
    crowded = made_in([Image("a", 10.0)], Coming((), 0.0, Image("", 10.0), every_s=0.01), PACE)["a"]
    assert alone == pytest.approx(13.0)
    assert crowded == pytest.approx(10 * 2.0 + 3.0, rel=0.02)


def test_a_decode_beside_the_unet_holds_nobody_up() -> None:
    beside = Pace((1.0, 1.5), decode_s=3.0, pixels=1, hold_s=0.0, store_s=0.5)
    made = made_in([Image("a", 4.0), Image("b", 10.0)], NOTHING, beside)
    assert made["a"] == pytest.approx(4 * 1.5 + 3.0 + 0.5)
    assert made["b"] == pytest.approx(4 * 1.5 + 6 * 1.0 + 3.0 + 0.5)


def test_a_job_alone_queued_taken_or_reported() -> None:
    assert prospect(queued=1).seconds(JOB, 0, 0) == pytest.approx(13.0, abs=0.1)
    assert prospect(running=1).seconds(JOB, None, 0) == pytest.approx(13.0, abs=0.1)
    assert prospect(running=1).seconds(JOB, None, 4) == pytest.approx(9.0, abs=0.1)
    assert prospect(held("mine", 6)).seconds(JOB, None, 4) == pytest.approx(9.0, abs=0.1)
    assert prospect(held("mine", 6), since_s=2.0).seconds(JOB, None, 4) == pytest.approx(7.0, abs=0.1)
    assert prospect(running=1).seconds(JOB, None, 10) == pytest.approx(3.0)
    two = JOB.model_copy(update={"n": 2})
    load = PoolLoad("m", queued=1, outstanding_cost=float(two.cost))
    alone = Prospect(load, prospect().reports, PACE)
    assert alone.seconds(two, 0, 0) == pytest.approx(10 * 1.5 + 2 * 3.0, abs=0.1)


def test_an_idle_device_begins_now_however_old_its_report_is() -> None:
    assert prospect(queued=1, since_s=5.0).seconds(JOB, 0, 0) == pytest.approx(13.0, abs=0.1)


def test_a_queued_job_waits_for_those_before_it_and_no_longer_for_those_behind() -> None:
    full = [held(f"a{number}") for number in range(4)]
    first = prospect(*full, queued=1).seconds(JOB, 0, 0)
    last = prospect(*full, queued=5).seconds(JOB, 4, 0)
    assert first == pytest.approx(10 * 2.0 + 4 * 3.0 + 10 * 1.0 + 3.0, abs=0.1)
    assert last is not None
    assert last == pytest.approx(2 * (10 * 2.0 + 4 * 3.0) + 10 * 1.0 + 3.0, abs=0.1)
    assert prospect(*full, queued=5).seconds(JOB, 0, 0) == pytest.approx(2 * (10 * 2.0 + 4 * 3.0), abs=0.1)


def test_a_very_long_queue_takes_what_a_full_device_takes() -> None:
    near, far = (prospect(queued=queued + 1).seconds(JOB, queued, 0) for queued in (1000, 2000))
    assert near is not None
    assert far is not None
    assert far - near == pytest.approx(1000 * (10 * 2.0 / 4 + 3.0))


def test_workers_share_the_queue() -> None:
    one = prospect(queued=41)
    two = Prospect(one.load, [report("w0"), report("w1")], PACE)
    times = one.seconds(JOB, 40, 0), two.seconds(JOB, 40, 0)
    assert times[0] is not None
    assert times[1] is not None
    assert 1.6 < times[0] / times[1] < 2.1


def test_larger_images_take_longer() -> None:
    large = JOB.model_copy(update={"width": 128})
    load = PoolLoad("m", queued=1, outstanding_cost=float(large.cost))
    assert Prospect(load, [report("w")], PACE).seconds(large, 0, 0) == pytest.approx(20 * 1.0 + 3.0, abs=0.1)


def test_nothing_is_told_without_pace_or_worker_or_of_a_paused_pool() -> None:
    assert prospect(queued=1, pace=None).seconds(JOB, 0, 0) is None
    assert Prospect(PoolLoad("m", queued=1), [], PACE).seconds(JOB, 0, 0) is None
    assert Prospect(PoolLoad("m", queued=1, paused=True), [report("w")], PACE).seconds(JOB, 0, 0) is None


def test_jobs_that_only_counters_know_cost_what_open_jobs_cost() -> None:
    load = PoolLoad("m", queued=2, running=2, outstanding_cost=4 * 30.0 * PACE.pixels)
    assert Usual.of([held("a", 3), held("b")], load, PACE, otherwise=99.0) == Usual(3.0, 10.0)
    assert Usual.of([], load, PACE, otherwise=30.0) == Usual(1.0, 30.0)
    waiting = [held("a", waiting=True), held("b", 3, images=2)]
    assert images_of(report("w", held=waiting), PACE) == [Image("b", 3.0), Image("b", 3.0), Image("a", 10.0)]


def report(name: str, **fields: Any) -> WorkerReport:
    return WorkerReport(name=name, pool="m", capacity=8, **fields)


def span(at: float, unet_s: float, vae_s: float = 0.0, rows: int = 4, skipped: int = 0) -> SlotSpan:
    return (at, unet_s + vae_s, unet_s, vae_s, rows, int(vae_s > 0), skipped)


def test_the_pace_is_read_from_a_plans_head() -> None:
    head = {"version": "1", "pace": '{"step_s": [1.0, 1.5, 1.8, 2.0], "decode_s": 3.0, "pixels": 4096}'}
    assert Pace.of(head) == PACE
    assert Pace.of({"version": "1", "pace": ""}) is None
    assert Pace.of({"version": "1"}) is None


def test_a_slower_device_is_believed_and_forgotten() -> None:
    measured = Measured()
    assert measured.pace(PACE, []) == PACE
    slow = measured.pace(PACE, [report("w", slots=[span(1.0, 3.0), span(4.0, 3.0)])])
    assert slow.step_s == pytest.approx([2.0, 3.0, 3.6, 4.0])
    assert (slow.decode_s, slow.hold_s) == pytest.approx((6.0, 6.0))
    again = measured.pace(PACE, [report("w", slots=[span(1.0, 3.0), span(4.0, 3.0)])])
    assert again == slow  # slots that were seen before count once
    fast = measured.pace(PACE, [report("w", slots=[span(200.0 + number, 1.5) for number in range(9)])])
    assert fast.step_s == pytest.approx(PACE.step_s, rel=0.01)


def test_samples_that_skip_make_slots_shorter_for_their_images() -> None:
    slots = [span(1.0, 0.9, rows=2, skipped=2)]
    assert Measured().pace(PACE, [report("w", slots=slots)]).slot_s(2) == pytest.approx(0.9)


def test_how_far_decodes_hold_the_batch_up_is_measured() -> None:
    turns = Measured().pace(PACE, [report("w", slots=[span(1.0, 1.5, 1.0), span(2.0, 0.0, 2.0, rows=0)])])
    assert turns.hold_s == pytest.approx(3.0)
    beside: SlotSpan = (1.0, 1.8, 1.5, 1.5, 4, 3, 0)
    assert Measured().pace(PACE, [report("w", slots=[beside])]).hold_s == pytest.approx(3.0 * 0.3 / 1.5)


def test_what_storing_takes_counts() -> None:
    assert Measured().pace(PACE, [report("w", store_s=0.25)]).store_s == 0.25
    assert math.isinf(NOTHING.every_s)
