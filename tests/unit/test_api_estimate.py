"""The estimated time: what it says where the answer is known."""

from __future__ import annotations

from itertools import pairwise

import pytest

from synerdiff.api.estimate import Pace, seconds_left
from synerdiff.api.slowdown import Slowdown
from synerdiff.ledger import PoolLoad, WorkerReport
from synerdiff.protocol import Job

PACE = Pace((1.0, 1.5, 1.8, 2.0), decode_s=3.0, pixels=64 * 64)
JOB = Job(model="m", prompt="p", width=64, height=64, steps=10, seed=1)


def load(queued: int, running: int) -> PoolLoad:
    return PoolLoad("m", queued=queued, running=running, outstanding_cost=float((queued + running) * JOB.cost))


def test_a_lone_job_takes_its_steps_and_its_decode() -> None:
    assert seconds_left(JOB, 0, 0, load(1, 0), PACE, 1) == pytest.approx(10 * 1.0 + 3.0)
    assert seconds_left(JOB, None, 4, load(0, 1), PACE, 1) == pytest.approx(6 * 1.0 + 3.0)


def test_jobs_that_share_the_batch_slow_each_other_and_those_past_the_cap_wait() -> None:
    shared = seconds_left(JOB, 1, 0, load(2, 0), PACE, 1)
    assert shared == pytest.approx(10 * 1.5 + 2 * 3.0)
    at = [seconds_left(JOB, position, 0, load(position + 1, 0), PACE, 1) for position in range(3, 30)]
    an_image = 10 * 2.0 / 4 + 3.0  # of a device with a full batch
    assert [later - sooner for sooner, later in pairwise(at)] == pytest.approx([an_image] * 26)


def test_devices_share_what_is_ahead_and_larger_images_take_longer() -> None:
    one, two = (seconds_left(JOB, 40, 0, load(41, 0), PACE, devices) for devices in (1, 2))
    assert 1.7 < one / two < 2.0
    large = JOB.model_copy(update={"width": 128})
    alone = PoolLoad("m", queued=1, outstanding_cost=float(large.cost))
    assert seconds_left(large, 0, 0, alone, PACE, 1) == pytest.approx(2 * 13.0)


def test_the_pace_is_read_from_a_plans_head() -> None:
    head = {"version": "1", "pace": '{"step_s": [1.0, 1.5, 1.8, 2.0], "decode_s": 3.0, "pixels": 4096}'}
    assert Pace.of(head) == PACE
    assert Pace.of({"version": "1", "pace": ""}) is None
    assert Pace.of({"version": "1"}) is None


def report(predicted_s: float, measured_s: float) -> WorkerReport:
    slot: dict[str, float | int | str] = {"predicted_total_s": predicted_s, "measured_total_s": measured_s}
    return WorkerReport(name="w", pool="m", capacity=1, slot=slot)


def test_a_device_that_is_slower_than_its_profile_is_believed_lately() -> None:
    slowdown = Slowdown()
    assert slowdown.of([]) == 1.0
    assert slowdown.of([report(0.1, 0.5)]) == 1.0  # too little to tell
    assert slowdown.of([report(10.0, 10.0)]) == pytest.approx(1.0)
    assert slowdown.of([report(12.0, 15.0)]) == pytest.approx(2.5)
    assert slowdown.of([report(12.1, 15.1)]) == pytest.approx(2.5)
    assert slowdown.of([report(0.0, 0.0)]) == pytest.approx(2.5)
    assert slowdown.of([report(2.0, 3.0)]) == pytest.approx(1.5)
    assert PACE.times(2.0) == Pace((2.0, 3.0, 3.6, 4.0), 6.0, PACE.pixels)
