"""Executors: the same slots give the same results, and no side's error loses the other's work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import torch

from synerdiff.engine.decode import decode_chunks
from synerdiff.engine.executors import Executor, HostCopies, Outcome, make_executor
from synerdiff.protocol.errors import EngineError
from tests.decoders import make_latents, make_vae

CPU = torch.device("cpu")


@pytest.fixture(params=["serial", "threads"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    made = make_executor(request.param, CPU)
    yield made
    made.close()


def failing() -> int:
    raise RuntimeError("out of luck")


def returning(value: int) -> Callable[[], int]:
    return lambda: value


def test_a_slot_returns_both_sides(executor: Executor) -> None:
    outcome = executor.run(returning(7), [returning(1), returning(2)])
    assert (outcome.unet, outcome.chunks) == (7, (1, 2))
    outcome.check()


def test_a_slot_may_lack_either_side(executor: Executor) -> None:
    assert executor.run(returning(7), []).unet == 7
    only_chunks: Outcome[None, int] = executor.run(None, [returning(1)])
    assert (only_chunks.unet, only_chunks.chunks) == (None, (1,))
    assert only_chunks.times is not None
    assert only_chunks.times.unet_s == pytest.approx(0.0, abs=1e-3)


def test_slots_are_numbered_and_timed(executor: Executor) -> None:
    numbers = [executor.run(returning(1), [returning(1)]) for _ in range(3)]
    assert [outcome.slot for outcome in numbers] == [0, 1, 2]
    for outcome in numbers:
        assert outcome.times is not None
        assert outcome.times.slot == outcome.slot
        assert outcome.times.slot_s >= max(outcome.times.unet_s, outcome.times.vae_s) - 1e-9


def test_a_failing_chunk_keeps_the_unet_result_and_stops_the_chunks_after_it(executor: Executor) -> None:
    later = iter([3])
    outcome = executor.run(returning(7), [returning(1), failing, lambda: next(later)])
    assert outcome.unet == 7
    assert outcome.unet_error is None
    assert outcome.chunks == (1,)
    assert list(later) == [3]
    with pytest.raises(RuntimeError, match="out of luck"):
        outcome.check()


def test_a_failing_unet_call_keeps_the_chunks(executor: Executor) -> None:
    outcome = executor.run(failing, [returning(1), returning(2)])
    assert outcome.unet is None
    assert isinstance(outcome.unet_error, RuntimeError)
    assert outcome.chunks == (1, 2)
    assert outcome.chunk_error is None


def test_an_interrupt_is_not_an_outcome(executor: Executor) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        executor.run(interrupted, [])


def test_all_executors_make_the_same_images(executor: Executor) -> None:
    vae = make_vae()
    reference = decode_chunks(vae, make_latents(8, 8), "stages")
    reference.run(reference.chunks)
    decode = decode_chunks(vae, make_latents(8, 8), "stages")
    layer, rows = torch.nn.Linear(16, 16), torch.ones(2, 16)
    with torch.inference_mode():
        expected = layer(rows)
        while not decode.done:
            outcome = executor.run(lambda: layer(rows), [lambda: decode.run(1)] * 2)
            outcome.check()
            assert outcome.unet is not None
            assert torch.equal(outcome.unet, expected)
    assert torch.equal(decode.result(), reference.result())


def test_threads_run_both_sides_at_once() -> None:
    executor = make_executor("threads", CPU)
    meeting = threading.Barrier(2, timeout=30)
    outcome = executor.run(meeting.wait, [meeting.wait])
    outcome.check()
    assert {outcome.unet, *outcome.chunks} == {0, 1}  # both sides' places in the barrier
    executor.close()


def test_threads_divide_the_cores_only_while_both_sides_run() -> None:
    executor = make_executor("threads", CPU, threads=4)
    before = torch.get_num_threads()
    both = executor.run(torch.get_num_threads, [torch.get_num_threads])
    assert (both.unet, both.chunks) == (3, (1,))
    assert executor.run(torch.get_num_threads, []).unet == before
    assert torch.get_num_threads() == before
    executor.close()


def test_chunks_run_in_the_callers_inference_mode(executor: Executor) -> None:
    with torch.inference_mode():
        assert executor.run(returning(1), [torch.is_inference_mode_enabled]).chunks == (True,)
    assert executor.run(returning(1), [torch.is_inference_mode_enabled]).chunks == (False,)


def test_auto_is_serial_on_the_cpu() -> None:
    assert make_executor("auto", CPU).name == "serial"


def test_wrong_executors_are_refused_with_the_reason() -> None:
    with pytest.raises(EngineError, match="streams needs a CUDA device, but the model is on cpu"):
        make_executor("streams", CPU)
    with pytest.raises(EngineError, match="must be auto, serial, threads, streams"):
        make_executor("fibers", CPU)


def test_on_the_cpu_an_image_is_on_the_host_at_once() -> None:
    image = torch.ones(3, 4, 4)
    copied = HostCopies(CPU).start(image)
    assert copied.ready
    assert copied.get() is image
