"""How decodes are cut: shares of work, counted in FLOPs on the meta device, so that nothing is computed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from synerdiff.engine.decode import GRANULARITIES, ChunkedDecode, decode_plan, granularities
from synerdiff.engine.decode.partition import balance, group_under
from tests.decoders import SD_CHANNELS, make_latents, make_vae


@pytest.fixture(scope="module")
def sd_vae() -> Any:
    """Stable Diffusion's VAE (SDXL's has the same blocks), without weights."""
    with torch.device("meta"):
        return make_vae(SD_CHANNELS)


def flops_of_chunks(vae: Any, size: int, granularity: str) -> list[int]:
    decode = ChunkedDecode(vae, torch.empty(1, 4, size, size, device="meta"), granularity)
    counts = []
    while not decode.done:
        with FlopCounterMode(display=False) as counter:
            decode.run(1)
        counts.append(counter.get_total_flops())
    return counts


@pytest.mark.parametrize("size", [64, 128], ids=["512x512", "1024x1024"])
def test_no_finest_chunk_is_over_8_percent_and_the_cuts_add_almost_no_work(sd_vae: Any, size: int) -> None:
    chunks = flops_of_chunks(sd_vae, size, "strips")
    whole = sum(flops_of_chunks(sd_vae, size, "whole"))
    assert max(chunks) <= 0.08 * whole
    assert sum(chunks) <= 1.01 * whole


def test_coarse_chunks_are_about_even(sd_vae: Any) -> None:
    chunks = flops_of_chunks(sd_vae, 64, "coarse")
    assert len(chunks) == 4
    assert max(chunks) <= 0.32 * sum(chunks)


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_estimated_shares_add_up_and_are_near_the_counted_ones(sd_vae: Any, granularity: str) -> None:
    counted = flops_of_chunks(sd_vae, 64, granularity)
    estimated = [chunk.cost for chunk in decode_plan(sd_vae, 64, 64, granularity).chunks]
    assert sum(estimated) == pytest.approx(1.0)
    for flops, share in zip(counted, estimated, strict=True):
        assert share == pytest.approx(flops / sum(counted), abs=0.05)


def test_each_granularity_has_at_least_as_many_chunks_as_the_one_before(sd_vae: Any) -> None:
    counts = list(granularities(sd_vae, 64, 64).values())
    assert counts == sorted(counts)
    assert counts[0] == 1
    assert counts[-1] >= 20


def test_the_most_held_at_512_is_under_a_gigabyte(sd_vae: Any) -> None:
    assert decode_plan(sd_vae, 64, 64, "strips").held_elements * 4 < 1 << 30


def test_plans_are_made_once_for_a_vae() -> None:
    vae = make_vae()
    assert decode_plan(vae, 8, 8, "strips") is decode_plan(vae, 8, 8, "strips")
    assert decode_plan(vae, 8, 8, "strips") is not decode_plan(make_vae(), 8, 8, "strips")


def test_one_latent_row_can_still_be_cut() -> None:
    decode = ChunkedDecode(make_vae(), make_latents(1, 1), "strips")
    decode.run(decode.chunks)
    assert decode.result().shape == (3, 4, 4)


costs = st.lists(st.floats(0.01, 10.0), min_size=1, max_size=20)


@given(costs, st.floats(0.1, 20.0))
def test_groups_stay_under_the_limit_and_leave_nothing_out(values: list[float], limit: float) -> None:
    lengths = group_under(values, limit)
    assert sum(lengths) == len(values)
    start = 0
    for length in lengths:
        assert length == 1 or sum(values[start : start + length]) <= limit + 1e-9
        start += length


@given(costs, st.integers(1, 8))
def test_balance_makes_the_largest_group_as_small_as_can_be(values: list[float], groups: int) -> None:
    lengths = balance(values, groups)
    assert sum(lengths) == len(values)
    assert len(lengths) <= groups
    assert largest(values, lengths) == pytest.approx(best_largest(tuple(values), groups), rel=1e-6)


def largest(values: list[float], lengths: list[int]) -> float:
    edges = [sum(lengths[:i]) for i in range(len(lengths) + 1)]
    return max(sum(values[a:b]) for a, b in pairwise(edges))


def best_largest(values: tuple[float, ...], groups: int) -> float:
    """By dynamic programming over all splits."""
    best = [sum(values[: i + 1]) for i in range(len(values))]
    for _ in range(groups - 1):
        best = [
            min([best[i], *(max(best[j], sum(values[j + 1 : i + 1])) for j in range(i))]) for i in range(len(values))
        ]
    return best[-1]
