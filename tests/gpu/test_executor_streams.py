"""CUDA only: two streams make the images of one, without waiting for the device inside a slot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch

from benchmarks.checkpoints import make_checkpoint
from synerdiff.engine.config import EngineConfig
from synerdiff.engine.decode import GRANULARITIES, decode_chunks, decode_in_float32
from synerdiff.engine.engine import Engine
from synerdiff.engine.executors import (
    BucketedUNet,
    HostCopies,
    Outcome,
    StreamsExecutor,
    make_executor,
    row_buckets,
    to_device,
)
from synerdiff.engine.model import load_model
from tests.decoders import make_latents, make_vae, whole_decode
from tests.engines import drain, images, request

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and torch finds none here"),
]
WAITING = 50_000_000  # clock cycles: long enough that the host is ahead of the device


@pytest.fixture
def streams() -> Iterator[StreamsExecutor]:
    executor = StreamsExecutor("cuda")
    yield executor
    executor.close()


@pytest.fixture(autouse=True)
def full_precision() -> Iterator[None]:
    allowed = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = allowed


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_chunks_equal_the_whole_decode(granularity: str) -> None:
    vae, latents = make_vae().cuda(), make_latents(16, 16).cuda()
    decode = decode_chunks(vae, latents, granularity)
    decode.run(decode.chunks)
    assert (decode.result() - whole_decode(vae, latents)).abs().max() <= 1e-5


def test_half_precision_strips_are_as_near_to_float32_as_the_whole_decode_is() -> None:
    vae, latents = make_vae(force_upcast=False).cuda().half(), make_latents(16, 16).cuda()
    exact = decode_in_float32(vae, latents)
    strips = decode_chunks(vae, latents, "strips")
    strips.run(strips.chunks)
    limit = 1.5 * (whole_decode(vae, latents) - exact).abs().mean()
    assert (strips.result() - exact).abs().mean() <= limit


def test_streams_make_the_images_of_serial(streams: StreamsExecutor) -> None:
    vae, layer = make_vae().cuda(), torch.nn.Linear(512, 512).cuda()
    images, rows = {}, torch.ones(64, 512, device="cuda")
    for executor in (make_executor("serial", torch.device("cuda")), streams):
        decode = decode_chunks(vae, make_latents(16, 16).cuda(), "strips")
        hidden = rows
        while not decode.done:
            outcome = executor.run(lambda x=hidden: layer(x), [lambda d=decode: d.run(1)] * 2)  # type: ignore[misc]
            outcome.check()
            assert outcome.unet is not None
            hidden = outcome.unet
        images[executor.name] = (decode.result(), hidden)
    for serial, stream in zip(*images.values(), strict=True):
        assert torch.equal(serial, stream)


def test_a_slot_does_not_wait_for_the_device(streams: StreamsExecutor) -> None:
    vae = make_vae().cuda()
    decode = decode_chunks(vae, make_latents(16, 16).cuda(), "strips")
    decode.run(2)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        streams.run(lambda: torch.cuda._sleep(WAITING), [lambda: decode.run(2)]).check()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert not torch.cuda.current_stream().query()


def test_both_sides_overlap_and_times_come_a_slot_later(streams: StreamsExecutor) -> None:
    first = streams.run(lambda: torch.cuda._sleep(WAITING), [lambda: torch.cuda._sleep(WAITING)])
    assert first.times is None
    torch.cuda.synchronize()
    second: Outcome[None, None] = streams.run(None, [])
    assert second.times is not None
    assert second.times.slot == first.slot
    assert second.times.slot_s < 0.75 * (second.times.unet_s + second.times.vae_s)


def test_the_callers_stream_sees_both_results(streams: StreamsExecutor) -> None:
    def slow(value: float) -> torch.Tensor:
        torch.cuda._sleep(WAITING)
        return torch.full((1000,), value, device="cuda")

    outcome = streams.run(lambda: slow(1.0), [lambda: slow(2.0)])
    assert outcome.unet is not None
    assert (outcome.unet + outcome.chunks[0]).sum().item() == 3000.0


def test_an_image_reaches_pinned_memory_while_the_device_works_on() -> None:
    image = torch.full((3, 64, 64), 0.5, device="cuda")
    copied = HostCopies(image.device).start(image)
    assert copied.image.is_pinned()
    assert torch.equal(copied.get(), image.cpu())
    assert copied.ready


def test_values_reach_the_device_while_it_works() -> None:
    device, values = torch.device("cuda"), torch.arange(1000.0)
    to_device(values, device)  # what is allocated now is used again below
    torch.cuda.synchronize()
    torch.cuda._sleep(WAITING)
    torch.cuda.set_sync_debug_mode("error")
    try:
        copied = to_device(values, device)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert not torch.cuda.current_stream().query()
    assert torch.equal(copied.cpu(), values)


def test_cuda_graphs_by_row_bucket_give_the_same_rows() -> None:
    layer = torch.nn.Linear(16, 16).cuda()

    def unet(sample: torch.Tensor, timestep: torch.Tensor, scale: torch.Tensor) -> tuple[torch.Tensor]:
        return (layer(sample) * scale[:, None] + timestep[:, None],)

    bucketed = BucketedUNet(unet, row_buckets(8))
    with torch.inference_mode():
        for rows in (3, 5, 8, 3):
            inputs = [torch.randn(rows, 16), torch.arange(float(rows)), torch.randn(rows)]
            sample, timestep, scale = (each.cuda() for each in inputs)
            (found,) = bucketed(sample, timestep, scale=scale)
            assert torch.allclose(found, unet(sample, timestep, scale)[0], atol=1e-5)


@pytest.mark.parametrize("rows", ["any", "padded", "compiled"])
def test_the_engine_makes_the_same_images_with_streams_copies_and_graphs(rows: str, tmp_path: Path) -> None:
    model = load_model(make_checkpoint(tmp_path), device="cuda")
    found = []
    for config in (EngineConfig(executor="serial"), EngineConfig(executor="streams", unet_rows=rows)):  # type: ignore[arg-type]
        engine = Engine(model, config)
        for index in range(3):
            engine.admit(request(f"job-{index}", quality="balanced", seed=index))
        found.append({key: image.pixels.astype(int) for key, image in images(drain(engine)).items()})
        engine.close()
    assert found[0].keys() == found[1].keys()
    assert max(abs(found[0][key] - found[1][key]).max() for key in found[0]) <= 2


def test_a_denoising_step_does_not_wait_for_the_device(tmp_path: Path) -> None:
    """Skipping samples included, whose measurements are asked for when the next slot is planned."""
    model = load_model(make_checkpoint(tmp_path), device="cuda")
    with closing(Engine(model, EngineConfig(executor="streams", preview_s=1e-9))) as engine:
        engine.admit(request(steps=20, quality="fast"))
        engine.admit(request("other", steps=20, negative_prompt="blue"))
        for _ in range(18):  # to a slot that runs some unconditional rows and skips others
            engine.step()
            slot = engine._plan_slot()
            if slot.skipping:
                break
        assert slot.skipping
        assert slot.group is not None
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            with torch.inference_mode():
                engine._step_group(slot.group, slot.skipping)
        finally:
            torch.cuda.set_sync_debug_mode("default")
