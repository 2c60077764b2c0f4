"""Row buckets: padded calls give the rows of unpadded ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch._dynamo.testing import CompileCounter

from synerdiff.engine.executors import BucketedUNet, row_bucket, row_buckets


def test_buckets_up_to_16() -> None:
    assert row_buckets(16) == (1, 2, 4, 6, 8, 12, 16)
    assert row_buckets(1) == (1,)
    assert row_buckets(20) == (1, 2, 4, 6, 8, 12, 16, 20)


@given(st.integers(1, 64), st.integers(1, 64))
def test_the_bucket_is_the_smallest_that_holds_the_rows(rows: int, most: int) -> None:
    buckets = row_buckets(most)
    found = row_bucket(rows, buckets)
    assert found >= rows
    assert all(size < rows for size in buckets if size < found)
    if 4 < rows <= most:
        assert found - rows <= found / 3


class FakeUNet:
    """Adds up its inputs row by row, and remembers the sizes it was called with."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, sample: Tensor, timestep: Tensor, **inputs: Any) -> tuple[Tensor]:
        self.sizes.append(sample.shape[0])
        context, added = inputs["encoder_hidden_states"], inputs["added_cond_kwargs"]["text_embeds"]
        return (sample + timestep[:, None] + context.sum((1, 2))[:, None] + added.sum(1, keepdim=True),)


def test_every_size_is_compiled_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = CompileCounter()
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda unet, **_: compile_(unet, backend=counter, dynamic=False))

    def unet(sample: Tensor, timestep: Tensor) -> tuple[Tensor]:
        return (sample + timestep[:, None],)

    sizes = row_buckets(48)
    bucketed = BucketedUNet(unet, sizes)
    for rows in sizes:
        bucketed(torch.zeros(rows, 3), torch.zeros(rows))
    assert counter.frame_count == len(sizes) > 8


def test_a_bucketed_unet_returns_the_same_rows() -> None:
    unet = FakeUNet()
    bucketed = BucketedUNet(unet, row_buckets(8), compiler=lambda call: call)
    for rows in (1, 3, 5, 8, 9):
        inputs: dict[str, Any] = {
            "encoder_hidden_states": torch.randn(rows, 4, 5),
            "added_cond_kwargs": {"text_embeds": torch.randn(rows, 6)},
            "return_dict": False,
        }
        sample, timestep = torch.randn(rows, 7), torch.arange(float(rows))
        assert torch.equal(bucketed(sample, timestep, **inputs)[0], unet(sample, timestep, **inputs)[0])
    assert unet.sizes == [1, 1, 4, 3, 6, 5, 8, 8, 9, 9]
