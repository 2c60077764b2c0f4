"""The small parts of a worker: gate, strikes, backoff, receipts, names, periodic actions."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest

from synerdiff.engine.types import ImageReady, ImageReceipt, ImageTimings
from synerdiff.protocol import Job
from synerdiff.protocol.errors import LedgerUnavailable
from synerdiff.workers.backoff import pauses
from synerdiff.workers.gate import Gate
from synerdiff.workers.identity import incarnation
from synerdiff.workers.periodic import Periodic
from synerdiff.workers.persist import persist
from synerdiff.workers.receipts import Maker, image_receipt, job_receipt, job_timings
from synerdiff.workers.strikes import Strikes
from tests.support import wait_until


def entering(gate: Gate) -> tuple[threading.Thread, list[bool]]:
    """A thread that goes through the gate, and what it was told."""
    told: list[bool] = []

    def enter() -> None:
        with gate.passing() as admitted:
            told.append(admitted)

    thread = threading.Thread(target=enter, daemon=True)
    thread.start()
    return thread, told


def test_the_gate_waits_for_engine_and_room() -> None:
    room = False
    gate = Gate(lambda: room)
    thread, told = entering(gate)
    gate.engine(True)
    thread.join(0.05)
    assert told == []
    room = True
    gate.poke()
    thread.join(5)
    assert told == [True]


def test_a_closed_gate_turns_everybody_away() -> None:
    gate = Gate(lambda: True)
    thread, told = entering(gate)
    gate.close()
    thread.join(5)
    assert told == [False]
    assert gate.wait_empty(5)


def test_three_failures_in_a_row_are_too_many_and_a_finished_job_clears_them() -> None:
    strikes = Strikes()
    for _ in range(2):
        strikes.add([])
    strikes.clear()
    for _ in range(2):
        strikes.add([])
        assert not strikes.out
    strikes.add([])
    assert strikes.out


def test_poison_jobs_that_run_alone_weigh_less() -> None:
    strikes = Strikes()
    strikes.add([])
    for job_id in ("a", "a", "a", "b", "b", "b"):
        strikes.add([job_id])
    assert not strikes.out


def test_pauses_double_up_to_a_limit() -> None:
    found = list(itertools.islice(pauses(first_s=0.1, most_s=2.0), 12))
    assert all(0 < pause <= 2.0 for pause in found)
    assert found[0] <= 0.1
    assert min(found[-3:]) >= 1.0


def test_a_ledger_that_comes_back_is_asked_again_and_a_stop_ends_the_asking() -> None:
    calls = itertools.count()

    def ask() -> int:
        if next(calls) < 2:
            raise LedgerUnavailable("away")
        return 7

    assert persist(ask, stop=threading.Event(), what="ask") == 7
    stop = threading.Event()
    stop.set()

    def away() -> int:
        raise LedgerUnavailable("away")

    assert persist(away, stop=stop, what="ask") is None


def test_a_periodic_action_outlives_its_failures() -> None:
    calls = itertools.count()
    done = threading.Event()

    def action() -> None:
        call = next(calls)
        if call == 0:
            raise LedgerUnavailable("away")
        if call == 1:
            raise RuntimeError("a surprise")
        done.set()

    periodic = Periodic("test", 0.01, action)
    periodic.start()
    assert done.wait(10)
    periodic.stop()


def test_two_incarnations_never_share_a_name() -> None:
    assert incarnation("gpu 7/a").startswith("gpu-7-a-")
    assert len({incarnation() for _ in range(100)}) == 100


def ready(index: int, rows: int, per_call: float, skipped: tuple[int, ...]) -> ImageReady:
    receipt = ImageReceipt(rows, len(skipped), per_call, skipped, 3, 5)
    timings = ImageTimings(0.1 * (index + 1), 1.0, 0.2, 0.3)
    return ImageReady("job", index, 40 + index, np.zeros((8, 8, 3), np.uint8), timings, receipt)


def test_a_jobs_receipt_adds_up_its_images_and_each_image_stands_alone() -> None:
    job = Job(id="job", model="m", prompt="cat", width=8, height=8, steps=4, n=2, seed=40)
    maker = Maker("w-1", "hash", {"torch": "2"}, "bfloat16")
    images = [ready(0, 8, 4.0, ()), ready(1, 4, 7.0, (1, 3))]
    each = [image_receipt(job, image, maker) for image in images]
    assert (each[1].request["seed"], each[1].request["n"], each[1].skipped_steps) == (41, 1, [[1, 3]])
    whole = job_receipt(job, each)
    assert (whole.rows_run, whole.rows_skipped, whole.chunks) == (12, 2, 6)
    assert whole.rows_per_call == pytest.approx(5.0)
    assert (each[0].dtype, whole.dtype) == ("bfloat16", "bfloat16")
    assert whole.skipped_steps == [[], [1, 3]]
    assert (whole.request["seed"], whole.request["n"], whole.worker) == (40, 2, "w-1")
    timings = job_timings(0.5, [image.timings for image in images], [0.1, 0.4], 2.0)
    assert (timings.queued, timings.encode, timings.upload, timings.total) == (0.5, 0.2, 0.4, 2.5)


def test_the_receipt_of_a_single_image_equals_its_jobs() -> None:
    job = Job(id="job", model="m", prompt="cat", width=8, height=8, steps=4, seed=40)
    each = image_receipt(job, ready(0, 8, 4.0, ()), Maker("w-1", "hash", {}))
    assert job_receipt(job, [each]) == each


@pytest.mark.parametrize("up", [True, False])
def test_the_gate_counts_who_is_inside(up: bool) -> None:
    gate = Gate(lambda: True)
    gate.engine(up)
    leave = threading.Event()

    def stay() -> None:
        with gate.passing():
            leave.wait(10)

    thread = threading.Thread(target=stay, daemon=True)
    thread.start()
    if not up:
        gate.close()
    wait_until(lambda: not gate.wait_empty(0.0) or not thread.is_alive(), 5)
    leave.set()
    assert gate.wait_empty(5)
