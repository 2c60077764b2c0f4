"""Latent checkpoints and setting aside in the engine: the same image as without, and bounded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from synerdiff.engine.config import EngineConfig
from synerdiff.engine.engine import Engine
from synerdiff.engine.queue import AGE_S, MOST_ASIDE
from synerdiff.engine.types import Admitted, Event, Request, SetAside, Snapshot, Stepped
from synerdiff.policy import default_plan, keep_interval
from synerdiff.protocol.job import SAMPLERS
from tests.engines import drain, images, random_model, request

STEPS = 9


def engine_with(capacity: int = 16, cap: int = 16, **config: Any) -> Engine:
    config = {"float_images": True, "executor": "serial", **config}
    return Engine(random_model(), EngineConfig(capacity=capacity, **config), default_plan(cap))


def pixels(events: list[Event]) -> dict[tuple[str, int], Any]:
    return {key: image.pixels for key, image in images(events).items()}


def until(engine: Engine, kind: type[Event], most: int = 100) -> tuple[list[Event], Any]:
    """Step up to the first event of a kind; all events, and that one."""
    seen: list[Event] = []
    for _ in range(most):
        seen += engine.step()
        found = [event for event in seen if isinstance(event, kind)]
        if found:
            return seen, found[0]
    raise AssertionError(f"no {kind.__name__} in {most} slots")


def kept(asked: Request, **config: Any) -> Snapshot:
    """The checkpoint of a job after its fourth step, as an engine that is lost then had sent it."""
    engine = engine_with(keep_steps=4, **config)
    engine.admit(asked)
    snapshot: Snapshot = until(engine, Snapshot)[1]
    return snapshot


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("quality", ["exact", "fast"])
def test_a_rerun_goes_on_from_the_checkpoint_to_the_same_bits_and_receipt(sampler: str, quality: str) -> None:
    asked = request(sampler=sampler, quality=quality, steps=STEPS, n=2)
    whole, rerun = engine_with(), engine_with(keep_steps=4)
    whole.admit(asked)
    expected = drain(whole)
    snapshot = kept(asked)
    rerun.admit(asked, snapshot.data)
    events = drain(rerun)
    assert snapshot.steps == 8
    assert [event.step for event in events if isinstance(event, Stepped)] == [5, 6, 7, 8, 9]
    assert [event.resumed for event in events if isinstance(event, Admitted)] == [4]
    for key, image in images(expected).items():
        assert np.array_equal(images(events)[key].pixels, image.pixels)
        assert images(events)[key].receipt == image.receipt
    [again] = [event for event in events if isinstance(event, Snapshot)]
    assert again.steps == 16


def test_skipped_steps_are_carried_over() -> None:
    asked = request(quality="fast", steps=25, sampler="dpmpp_2m")
    whole, first, rerun = engine_with(), engine_with(keep_steps=20), engine_with()
    for engine in (whole, first):
        engine.admit(asked)
    rerun.admit(asked, until(first, Snapshot)[1].data)
    [expected], [image] = images(drain(whole)).values(), images(drain(rerun)).values()
    assert expected.receipt.rows_skipped > 0
    assert image.receipt == expected.receipt
    assert np.array_equal(image.pixels, expected.pixels)


def test_images_that_were_denoised_already_are_only_decoded() -> None:
    asked = request(steps=3, n=2)
    first, rerun, whole = engine_with(cap=1), engine_with(), engine_with(cap=1)
    first.admit(asked)
    for _ in range(6):  # three steps and a decode of the first image, two steps of the second
        first.step()
    parted = first.part(asked.job_id)
    assert first.idle
    assert parted.kept is not None
    rerun.admit(asked, parted.kept.data)
    whole.admit(asked)
    events, expected = drain(rerun), pixels(drain(whole))
    assert sum(event.rows for event in events if hasattr(event, "rows")) == 2
    assert all(np.array_equal(pixels(events)[key], expected[key]) for key in expected)


def test_a_job_that_has_done_nothing_or_is_not_there_parts_with_nothing() -> None:
    engine = engine_with(cap=1)
    engine.admit(request("first"))
    engine.admit(request("second"))
    engine.step()
    assert engine.part("second").kept is None
    assert engine.part("stranger").kept is None
    assert set(images(drain(engine))) == {("first", 0)}


@pytest.mark.parametrize(
    "change",
    [{"seed": 8}, {"prompt": "a blue star"}, {"sampler": "euler"}, {"steps": STEPS + 1}, {"guidance_scale": 4.0}],
)
def test_a_checkpoint_of_something_else_is_not_used(change: dict[str, Any]) -> None:
    snapshot = kept(request(steps=STEPS))
    asked = replace(request(steps=STEPS), **change)
    fresh, given = engine_with(), engine_with()
    fresh.admit(asked)
    given.admit(asked, snapshot.data)
    events = drain(given)
    assert [event.resumed for event in events if isinstance(event, Admitted)] == [0]
    assert np.array_equal(pixels(events)["job", 0], pixels(drain(fresh))["job", 0])


def test_no_damaged_checkpoint_stops_the_engine_or_changes_an_image() -> None:
    asked = request(steps=STEPS, sampler="euler_a", quality="fast")
    data = kept(asked).data
    whole = engine_with()
    whole.admit(asked)
    expected = pixels(drain(whole))["job", 0]
    cuts = [b"", b"\x00" * 64, data[:-1], data[: len(data) // 2], data[8:], b"\xff" * 8 + data[8:]]
    for damaged in [*cuts, data.replace(b'"last_step": ', b'"last_step":9'), data.replace(b'"step": 4', b'"step": 0')]:
        engine = engine_with()
        engine.admit(asked, damaged)
        assert np.array_equal(pixels(drain(engine))["job", 0], expected)


def test_short_jobs_and_large_states_are_not_kept() -> None:
    short, large = engine_with(keep_steps=4), engine_with(keep_steps=4, keep_bytes=100)
    short.admit(request(steps=4))
    large.admit(request(steps=STEPS))
    for engine in (short, large):
        assert not [event for event in drain(engine) if isinstance(event, Snapshot)]


def test_the_interval_weighs_what_is_lost_against_what_keeping_costs() -> None:
    assert keep_interval(step_s=0.1, keep_s=0.001, active=1, loss_s=2.0) == 20  # cheap to keep: the loss decides
    assert keep_interval(step_s=0.1, keep_s=0.02, active=4, loss_s=2.0) == 80  # 80 ms of 8 s are 1%
    assert keep_interval(step_s=60.0, keep_s=0.1, active=1, loss_s=2.0) == 1


def test_a_job_with_little_to_lose_is_not_kept_by_itself_and_a_long_one_is() -> None:
    engine = engine_with(keep_s=1e9)
    engine.admit(request(steps=STEPS))
    assert not [event for event in drain(engine) if isinstance(event, Snapshot)]
    engine = engine_with(keep_s=1e-9)
    engine.admit(request(steps=100))
    assert [event for event in drain(engine) if isinstance(event, Snapshot)]


def test_an_urgent_job_takes_the_place_of_one_that_goes_on_later() -> None:
    low, urgent = request("low", priority=2, steps=STEPS, sampler="dpmpp_2m"), request("urgent", priority=9, steps=2)
    engine, alone = engine_with(cap=1), engine_with()
    alone.admit(low)
    engine.admit(low)
    for _ in range(4):
        engine.step()
    engine.admit(urgent)
    events = drain(engine)
    assert isinstance(events[0], SetAside)
    assert [key[0] for key in images(events)] == ["urgent", "low"]
    assert next(event.step for event in events if isinstance(event, Stepped) and event.job_id == "low") == 5
    assert np.array_equal(pixels(events)["low", 0], pixels(drain(alone))["low", 0])


def test_only_as_many_images_leave_as_it_takes_and_the_least_urgent_first() -> None:
    engine = engine_with(cap=3)
    for name, priority in (("a", 3), ("b", 2), ("c", 5)):
        engine.admit(request(name, priority=priority, steps=STEPS))
    engine.step()
    engine.admit(request("equal", priority=2, steps=2))
    engine.admit(request("urgent", priority=4, steps=2))
    assert [event.job_id for event in engine.step() if isinstance(event, SetAside)] == ["b"]
    assert len(images(drain(engine))) == 5


def test_another_shape_sets_nobody_aside() -> None:
    engine = engine_with(cap=1)
    engine.admit(request("low", priority=2, steps=STEPS))
    engine.step()
    engine.admit(request("wide", priority=9, width=128))
    assert not [event for event in drain(engine) if isinstance(event, SetAside)]


def test_a_stream_of_urgent_jobs_sets_a_job_aside_a_bounded_number_of_times() -> None:
    engine = engine_with(cap=1)
    engine.admit(request("low", priority=1, steps=STEPS))
    events: list[Event] = []
    for number in range(40):
        events += engine.step()
        if number % 2 == 0:
            engine.admit(request(f"urgent{number}", priority=9, steps=1))
    events += drain(engine)
    assert 0 < sum(event == SetAside("low") for event in events) <= MOST_ASIDE
    assert ("low", 0) in images(events)


def test_what_was_set_aside_ages_until_nothing_passes_it() -> None:
    now = [0.0]
    engine = Engine(random_model(), EngineConfig(executor="serial"), default_plan(1), clock=lambda: now[0])
    engine.admit(request("low", priority=0, steps=STEPS))
    engine.step()
    order: list[str] = []
    for number in range(60):
        engine.admit(request(f"urgent{number}", priority=9, steps=2))
        for _ in range(2):
            order += [key[0] for key in images(engine.step())]
        now[0] += AGE_S / 4
        if "low" in order:
            break
    assert "low" in order, "it starved"


def test_a_set_aside_job_can_be_cancelled_and_kept() -> None:
    engine = engine_with(cap=1)
    engine.admit(request("low", priority=2, steps=STEPS))
    for _ in range(3):
        engine.step()
    engine.admit(request("urgent", priority=9, steps=2))
    engine.step()
    parted = engine.part("low")
    assert parted.kept is not None
    assert parted.kept.steps == 3
    assert set(images(drain(engine))) == {("urgent", 0)}
    assert engine.waiting == 0
