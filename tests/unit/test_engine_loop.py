"""The engine's loop with a fake UNet: who joins, who leaves, and that a failure touches nobody else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from synerdiff.engine import decoding
from synerdiff.engine.engine import Engine
from synerdiff.engine.executors import HostCopy
from synerdiff.engine.types import (
    Admitted,
    ImageReady,
    JobFailed,
    SetAside,
    SlotReport,
    Stepped,
    Waits,
)
from synerdiff.policy import Granularity, Plan, PlanTable, PlanView, Profile, default_plan
from synerdiff.policy.planner import Planner
from tests.engines import (
    FakeUNet,
    drain,
    engine_with,
    failures,
    fake_model,
    images,
    is_poison,
    request,
)


def test_jobs_join_and_leave_between_any_two_steps() -> None:
    unet = FakeUNet()
    engine = engine_with(unet)
    engine.admit(request("long", steps=6))
    engine.step()
    engine.admit(request("short", steps=2, guidance_scale=1.0))
    events = drain(engine)

    assert unet.calls == [2, 3, 3, 2, 2, 2]
    assert images(events)["short", 0].receipt.rows_per_call == 3.0
    assert images(events)["long", 0].receipt.rows_run == 12


def test_images_of_a_job_have_their_own_seeds() -> None:
    engine = engine_with()
    engine.admit(request("many", n=3, seed=40))
    found = images(drain(engine))

    assert [found["many", index].seed for index in range(3)] == [40, 41, 42]
    assert not np.array_equal(found["many", 0].pixels, found["many", 1].pixels)


def test_the_batch_cap_holds_and_higher_priority_joins_first() -> None:
    engine = engine_with(plan=default_plan(2), capacity=8)
    for name, priority in (("first", 5), ("second", 5), ("low", 1), ("urgent", 9)):
        engine.admit(request(name, priority=priority))
    events = engine.step()

    assert [event.job_id for event in events if isinstance(event, Admitted)] == ["urgent", "first"]
    assert (engine.active, engine.waiting, engine.free) == (2, 2, 4)
    order = [event.job_id for event in events + drain(engine) if isinstance(event, Admitted)]
    assert order == ["urgent", "first", "second", "low"]


def test_rows_are_capped() -> None:
    unet = FakeUNet()
    engine = engine_with(unet, max_rows=4)
    for number in range(4):
        engine.admit(request(str(number)))
    drain(engine)
    assert max(unet.calls) == 4


def test_a_lone_image_joins_even_above_the_cap() -> None:
    engine = engine_with(max_rows=1)
    engine.admit(request("guided"))
    assert len(images(drain(engine))) == 1


def test_shapes_take_turns() -> None:
    unet = FakeUNet()
    engine = engine_with(unet)
    engine.admit(request("square", n=2, steps=4))
    engine.admit(request("wide", width=128, steps=4))
    events = drain(engine)

    assert unet.calls == [4, 2] * 4
    assert len(images(events)) == 3
    assert images(events)["wide", 0].pixels.shape == (64, 128, 3)


def test_progress_follows_the_slowest_image() -> None:
    engine = engine_with(plan=default_plan(1), capacity=8)
    engine.admit(request("job", n=2, steps=3))
    steps = [event.step for event in drain(engine) if isinstance(event, Stepped)]
    assert steps == [0, 0, 0, 1, 2, 3]  # also while an image waits, so that the job is seen to move


def test_cancelling_takes_effect_at_once() -> None:
    unet = FakeUNet()
    engine = engine_with(unet)
    engine.admit(request("kept"))
    engine.admit(request("gone", n=2))
    engine.step()
    engine.cancel("gone")

    assert engine.active == 1
    events = drain(engine)
    assert unet.calls == [6, 2, 2]
    assert all(getattr(event, "job_id", "kept") == "kept" for event in events)


def test_cancelling_reaches_waiting_and_decoding_images() -> None:
    engine = engine_with(plan=no_decode_beside(), capacity=8)
    engine.admit(request("done", steps=1))
    engine.admit(request("running", steps=9))
    engine.step()
    assert engine.decoding == 1
    engine.admit(request("waiting"))
    for job_id in ("done", "running", "waiting"):
        engine.cancel(job_id)
    assert engine.idle
    assert engine.step() == []


def test_the_same_job_is_admitted_once() -> None:
    engine = engine_with()
    engine.admit(request("job"))
    engine.admit(request("job"))
    assert len(images(drain(engine))) == 1


def test_a_job_of_which_every_image_waits_says_so() -> None:
    engine = engine_with(plan=default_plan(1), capacity=8)
    engine.admit(request("job", n=2, steps=2, priority=2))
    events = engine.step() + engine.step()
    engine.admit(request("urgent", steps=3, priority=9))
    assert Waits("job") not in events
    while ("job", 0) not in images(events):
        events = engine.step()
    assert Waits("job") in events, "its second image has no place"
    events = drain(engine)
    assert Waits("job") not in events
    assert ("job", 1) in images(events)


def test_a_job_that_made_room_waits_once_no_image_of_it_is_left_in_the_batch() -> None:
    engine = engine_with(plan=default_plan(2), capacity=8)
    engine.admit(request("low", n=2, steps=9, priority=2))
    engine.step()
    told = []
    for name in ("first", "second"):
        engine.admit(request(name, steps=3, priority=9))
        told.append([type(event) for event in engine.step() if isinstance(event, SetAside | Waits)])
    assert told == [[SetAside], [SetAside, Waits]]
    assert len(images(drain(engine))) == 4


def test_an_image_that_travels_is_forgotten_with_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_with()
    engine.admit(request("job", steps=1, n=2))
    monkeypatch.setattr(HostCopy, "ready", property(lambda _: False))
    while not engine._leaving.holds("job"):
        engine.step()
    engine.cancel("job")
    assert engine.idle
    engine.admit(request("job", steps=2, n=2))
    assert sorted(images(drain(engine))) == [("job", 0), ("job", 1)]


def test_other_errors_of_the_device_are_not_hidden() -> None:
    class Broken(FakeUNet):
        def forward(self, *arguments: Any, **options: Any) -> tuple[Tensor]:
            raise RuntimeError("the device is gone")

    engine = engine_with(Broken())
    engine.admit(request())
    with pytest.raises(RuntimeError, match="the device is gone"):
        engine.step()


def test_latents_that_are_not_finite_fail_their_job_alone() -> None:
    engine = engine_with(FakeUNet(spoil=is_poison))
    engine.admit(request("good"))
    engine.admit(request("bad", prompt="poison"))
    events = drain(engine)

    assert failures(events) == {"bad": "non_finite_image"}
    assert set(images(events)) == {("good", 0)}


def test_latents_that_are_not_finite_are_tried_once_more_in_single_precision() -> None:
    def spoil(latents: Tensor, context: Tensor) -> Tensor:
        return is_poison(latents, context) & torch.tensor(latents.dtype == torch.float16)

    model = fake_model(FakeUNet(spoil=spoil), dtype=torch.float16)
    engine = Engine(model)
    engine.admit(request("good"))
    engine.admit(request("bad", prompt="poison"))
    events = drain(engine)

    assert failures(events) == {}
    assert set(images(events)) == {("good", 0), ("bad", 0)}


def test_a_decode_without_memory_starts_over_in_strips_then_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def no_room(vae: Any, latents: Tensor, granularity: str, *_: Any) -> Any:
        tried.append(str(granularity))
        raise torch.OutOfMemoryError("no room")

    engine = engine_with()
    engine.admit(request("job", steps=1))
    monkeypatch.setattr(decoding, "decode_chunks", no_room)
    assert failures(drain(engine)) == {"job": "out_of_memory"}
    assert tried == ["whole", "strips"]


def test_a_full_decode_queue_stops_admission_and_not_stepping() -> None:
    engine = engine_with(plan=no_decode_beside(), capacity=8, decode_queue_bytes=64 * 64 * 3 * 4)
    engine.admit(request("short", steps=1))
    engine.admit(request("long", steps=4))
    engine.step()
    engine.admit(request("late", steps=1))
    for _ in range(2):
        events = engine.step()
        assert any(isinstance(event, Stepped) and event.job_id == "long" for event in events)
        assert engine.waiting == 1
    assert {key[0] for key in images(drain(engine))} == {"short", "long", "late"}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"width": 60}, "width"),
        ({"steps": 0}, "steps"),
        ({"n": 0}, "n"),
        ({"sampler": "magic"}, "sampler"),
        ({"prompt": "a " * 76}, "prompt"),
        ({"negative_prompt": "a " * 76}, "negative_prompt"),
        ({"replay": ((), ())}, "replay"),
    ],
)
def test_a_request_the_model_cannot_do_fails_with_its_field(fields: dict[str, Any], field: str) -> None:
    engine = engine_with()
    engine.admit(request("bad", **fields))
    engine.admit(request("good"))
    events = drain(engine)
    [error] = [event.error for event in events if isinstance(event, JobFailed)]

    assert (error.code, error.field) == ("invalid_job", field)
    assert set(images(events)) == {("good", 0)}


def test_long_prompts_are_chunked_where_that_is_allowed() -> None:
    engine = engine_with(long_prompts="chunk", float_images=True)
    engine.admit(request("long", prompt="a " * 100))
    engine.admit(request("short"))
    engine.admit(request("other-end", prompt="a " * 99 + "b"))
    found = images(drain(engine))
    assert {job_id: image.receipt.text_chunks for (job_id, _), image in found.items()} == {
        "long": 2,
        "short": 1,
        "other-end": 2,
    }
    assert not np.array_equal(found["long", 0].pixels, found["other-end", 0].pixels)  # nothing is cut off


def test_a_prompt_that_just_fits_is_not_chunked() -> None:
    engine = engine_with(long_prompts="chunk")
    engine.admit(request("full", prompt="a " * 75))
    assert images(drain(engine))["full", 0].receipt.text_chunks == 1


def test_slots_are_reported() -> None:
    engine = engine_with()
    engine.admit(request(steps=2))
    reports = [event for event in drain(engine) if isinstance(event, SlotReport)]
    assert [(report.rows, report.chunks, report.active, report.waiting) for report in reports] == [
        (2, 0, 1, 0),
        (2, 0, 0, 1),
        (0, 1, 0, 0),
    ]


def test_slots_are_predicted_by_the_profile_for_images_of_its_size() -> None:
    cut = (Granularity("whole", (0.4,)), Granularity("strips", (0.1, 0.1, 0.1, 0.1)))
    profile = Profile("m", "cpu", "float32", 64, 64, (2, 4), (0.2, 0.3), cut, slot_s=0.01)
    engine = engine_with(plan=Planner().plan(profile, theta=None, version=1, skip_above=9))
    engine.predict_by(profile)
    engine.admit(request("two", n=2, steps=2))
    slots = [event for event in drain(engine) if isinstance(event, SlotReport)]
    assert [slot.rows for slot in slots] == [4, 4, 0, 0]
    assert [slot.predicted_s for slot in slots] == pytest.approx([0.31, 0.31, 0.41, 0.41])

    engine.admit(request("another size", width=32))
    assert {event.predicted_s for event in drain(engine) if isinstance(event, SlotReport)} == {0.0}


def test_an_idle_engine_returns_nothing() -> None:
    engine = engine_with()
    assert engine.idle
    assert engine.step() == []


def test_texts_are_encoded_once() -> None:
    engine = engine_with()
    engine.admit(request("one"))
    first = [event for event in drain(engine) if isinstance(event, ImageReady)]
    calls: list[int] = []
    hook = engine.model.text_encoders[0].register_forward_hook(lambda *_: calls.append(1))
    engine.admit(request("two"))
    second = [event for event in drain(engine) if isinstance(event, ImageReady)]
    hook.remove()

    assert calls == []
    assert np.array_equal(first[0].pixels, second[0].pixels)


def no_decode_beside() -> PlanView:
    """A plan that decodes only when nothing is being denoised."""
    table = PlanTable(
        profile_id="",
        rows_per_sample=2,
        chunks_per_decode=1,
        granularities=("whole",),
        unet=np.array([[0, 0], [1, 1]], dtype=np.uint8),
        chunks=np.array([[0, 1], [0, 0]], dtype=np.uint16),
        granularity=np.zeros((2, 2), dtype=np.uint8),
        bound_slots=0,
    )
    return PlanView(Plan(1, "", batch_cap=8, skip_above=4, table_hash=""), table)


def test_images_that_have_not_arrived_on_the_host_yet_keep_the_engine_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def ready(copy: HostCopy) -> bool:
        asked.append(1)
        return len(asked) > 4

    monkeypatch.setattr(HostCopy, "ready", property(ready))
    engine = engine_with()
    engine.admit(request("short", steps=1))
    engine.admit(request("long", steps=9))
    slots, arrived = 0, [0]
    while not engine.idle:
        slots += 1
        arrived += [slots for event in engine.step() if isinstance(event, ImageReady)]
    assert arrived[1] > 3, "the first image is asked for again in later slots, and the device goes on"
    assert arrived[2] == slots


def test_a_job_that_is_cancelled_while_its_image_travels_is_not_heard_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HostCopy, "ready", property(lambda _: False))
    engine = engine_with()
    engine.admit(request("short", steps=1))
    engine.admit(request("long", steps=9))
    while engine.decoding == 0:
        engine.step()
    engine.step()
    engine.cancel("short")
    assert {job_id for job_id, _ in images(drain(engine))} == {"long"}
