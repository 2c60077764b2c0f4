"""What a plan decides of the slots: who skips, decodes in pieces beside steps, UNet calls of fixed sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from synerdiff.engine.config import EngineConfig
from synerdiff.engine.engine import Engine
from synerdiff.engine.executors import buckets
from synerdiff.engine.types import (
    ImageReady,
    SlotReport,
)
from synerdiff.policy import default_plan
from synerdiff.protocol.errors import PlanError
from synerdiff.workers.engines import compile_rows
from tests.engines import (
    FakeUNet,
    decode_beside,
    drain,
    engine_with,
    images,
    random_model,
    request,
)


def test_skipped_rows_are_counted_and_listed_and_exact_never_skips() -> None:
    engine = engine_with(FakeUNet())
    engine.set_plan(default_plan(8, skip_above=4))
    for quality in ("fast", "exact", "balanced"):
        engine.admit(request(quality, quality=quality, steps=16, seed=3))
    events = drain(engine)
    receipts = {key[0]: image.receipt for key, image in images(events).items()}

    assert sum(event.skipped for event in events if isinstance(event, SlotReport)) == receipts["fast"].rows_skipped
    assert receipts["exact"].rows_skipped == receipts["balanced"].rows_skipped == 0
    assert receipts["fast"].rows_skipped == len(receipts["fast"].skipped_steps) > 0
    assert receipts["fast"].rows_run == 32 - receipts["fast"].rows_skipped


@pytest.mark.parametrize(("jobs", "skip_above", "skips"), [(1, 0, True), (4, 4, False), (6, 4, True)])
def test_balanced_skips_while_more_jobs_are_there_than_the_plan_says(jobs: int, skip_above: int, skips: bool) -> None:
    engine = engine_with(FakeUNet(), default_plan(8, skip_above=skip_above), capacity=8)
    for number in range(jobs):
        engine.admit(request(str(number), quality="balanced", steps=16))
    found = images(drain(engine))
    assert len(found) == jobs
    assert all((image.receipt.rows_skipped > 0) == skips for image in found.values())


def test_a_receipts_skipped_steps_can_be_replayed_at_any_load() -> None:
    busy, quiet = engine_with(FakeUNet()), engine_with(FakeUNet(), default_plan(8, skip_above=4))
    wanted = request("wanted", quality="fast", steps=16, n=2)
    for number in range(4):
        busy.admit(request(str(number), quality="balanced", steps=12))
    busy.admit(wanted)
    made = images(drain(busy))
    skipped = tuple(made["wanted", index].receipt.skipped_steps for index in range(2))

    quiet.admit(replace(wanted, quality="balanced", replay=skipped))
    again = images(drain(quiet))

    for index in range(2):
        assert again["wanted", index].receipt.skipped_steps == skipped[index]
        assert np.array_equal(again["wanted", index].pixels, made["wanted", index].pixels)


@pytest.mark.parametrize("granularity", ["whole", "coarse", "stages", "strips"])
@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_decoding_in_pieces_beside_steps_makes_the_same_images(executor: Any, granularity: str) -> None:
    requests = [request(str(number), steps=2 + number, seed=number) for number in range(3)]
    plain, pieces = engine_with(), engine_with(plan=decode_beside(granularity), executor=executor)
    for item in requests:
        plain.admit(item)
        pieces.admit(item)
    expected, found = images(drain(plain)), images(drain(pieces))
    pieces.close()

    assert found.keys() == expected.keys()
    for key, image in found.items():
        assert np.abs(image.pixels.astype(int) - expected[key].pixels.astype(int)).max() <= 1
        assert image.receipt.chunks >= 1


def test_padded_unet_calls_change_images_by_rounding_and_exact_ones_not_at_all() -> None:
    found: dict[str, dict[tuple[str, int], ImageReady]] = {}
    calls: dict[str, list[int]] = {}
    for rows in ("any", "padded"):
        engine = Engine(random_model(), EngineConfig(capacity=8, float_images=True, unet_rows=rows))
        sizes = calls.setdefault(rows, [])
        hook = engine.model.unet.register_forward_pre_hook(lambda _, given, sizes=sizes: sizes.append(len(given[0])))
        for name, quality, guidance in (("a", "balanced", 5.0), ("b", "balanced", 1.0), ("c", "fast", 3.0)):
            engine.admit(request(name, quality=quality, guidance_scale=guidance))
        found[rows] = images(drain(engine))
        engine.admit(request("exact", guidance_scale=5.0, n=2))
        engine.admit(request("beside", quality="balanced", guidance_scale=1.0))
        found[rows] |= images(drain(engine))
        hook.remove()
    assert calls["any"][:3] == [5, 5, 5]
    assert calls["padded"][:3] == [6, 6, 6]
    assert calls["padded"][3:] == calls["any"][3:], "a call with an exact image is not padded"
    for key, image in found["any"].items():
        other = found["padded"][key].pixels
        assert np.abs(image.pixels - other).max() <= 1e-4
        assert key[0] not in ("exact", "beside") or np.array_equal(image.pixels, other)


def test_compiled_rows_are_compiled_before_a_job_comes_and_nothing_else_is(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def compiled(unet: Any, count: int) -> Any:
        def call(sample: Tensor, *arguments: Any, **options: Any) -> Any:
            sizes.append(len(sample))
            return unet(sample, *arguments, **options)

        return call

    monkeypatch.setattr(buckets, "_compile", compiled)
    engine = Engine(random_model(), EngineConfig(capacity=3, unet_rows="compiled"))
    compile_rows(engine, engine.model)
    assert engine.idle
    assert sizes == [size for size in (1, 2, 4, 6) for _ in range(2)]
    sizes.clear()
    with pytest.raises(PlanError, match=r"granularities must be among whole, .*; got 'dust'"):
        engine.set_plan(default_plan(4, granularity="dust"))
    engine.set_plan(default_plan(4))
    own = engine.model.entry.default_width
    engine.admit(request("own", width=own, height=own, n=4, quality="fast", steps=1))  # 8 rows are more than any size
    engine.admit(request("other", width=own + 64, height=own, quality="fast"))
    engine.admit(request("exact", width=own, height=own))
    drain(engine)
    assert sizes == []
    engine.admit(request("own", width=own, height=own, quality="fast", steps=2))
    drain(engine)
    assert sizes == [2, 2]
