"""The priced table: equal to brute force, priced rightly, bounded in age, quick to look up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synerdiff.policy import Granularity, Pairs, Profile
from synerdiff.policy.cost import CostModel
from synerdiff.policy.oracle import brute_force, follow, label_setting
from synerdiff.policy.table import Lanes, bound_slots, build_table, solve

SECONDS = st.floats(0.002, 0.2)


def make_profile(
    unet: list[float],
    chunks: list[float],
    contention: tuple[float, float] | None,
    *,
    coarse: bool = True,
    slot_s: float = 0.0,
) -> Profile:
    """A small profile with the same contention everywhere."""
    rows = tuple(range(1, len(unet) + 1))
    unet_s = tuple(float(each) for each in np.cumsum(unet))
    fine = Granularity("fine", tuple(chunks))
    cuts = (Granularity("whole", (sum(chunks) * 0.97,)), fine) if coarse and len(chunks) > 1 else (fine,)
    pairs = None
    if contention:
        both = min(unet_s[0], sum(chunks))
        pairs = Pairs((1,), (1.0,), ((unet_s[0] + contention[0] * both,),), ((sum(chunks) + contention[1] * both,),))
    return Profile("m", "d", "float32", 64, 64, rows, unet_s, cuts, pairs, rows_per_sample=1, steps=8, slot_s=slot_s)


PROFILES = st.builds(
    make_profile,
    st.lists(SECONDS, min_size=2, max_size=4),
    st.lists(SECONDS, min_size=1, max_size=4),
    st.none() | st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.2)),
    coarse=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(PROFILES, st.integers(0, 4), st.integers(1, 3), st.floats(0.0, 16.0))
def test_table_equals_brute_force(profile: Profile, active: int, images: int, price: float) -> None:
    cost = CostModel(profile)
    solved = solve(cost, Lanes(np.array([active]), np.array([price])), images)
    for waiting in range(images * cost.chunks_per_decode + 1):
        assert solved.cost[waiting, 0] == pytest.approx(brute_force(cost, active, waiting, price), rel=1e-9, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(PROFILES, st.integers(1, 4), st.floats(0.0, 16.0))
def test_following_the_table_costs_what_it_promises(profile: Profile, active: int, price: float) -> None:
    cost = CostModel(profile)
    table = build_table(cost, price, max_active=active, max_waiting=3)
    solved = solve(cost, Lanes(np.array([active]), np.array([price])), 3)
    waiting = 3 * cost.chunks_per_decode
    delay, spent = follow(cost, table, active, waiting)
    assert spent + price * delay == pytest.approx(solved.cost[waiting, 0], rel=1e-9, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(PROFILES, st.integers(1, 4), st.floats(0.0, 16.0))
def test_no_constrained_answer_beats_the_oracle(profile: Profile, active: int, price: float) -> None:
    cost = CostModel(profile)
    table = build_table(cost, price, max_active=active, max_waiting=2)
    waiting = 2 * cost.chunks_per_decode
    delay, spent = follow(cost, table, active, waiting)
    assert label_setting(cost, active, waiting, delay) == pytest.approx(spent, rel=1e-6, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(PROFILES, st.floats(0.0, 32.0), st.data())
def test_no_waiting_image_starves(profile: Profile, price: float, data: st.DataObject) -> None:
    """Given a full queue, when the batch changes and images keep arriving behind, an image still leaves in time."""
    table = build_table(CostModel(profile), price, max_active=4, max_waiting=4)
    ahead = behind = 4 * table.chunks_per_decode
    calls = 0
    while ahead > 0:
        arriving = data.draw(st.integers(0, 3)) * table.chunks_per_decode
        behind += arriving
        action = table.action(data.draw(st.integers(1, 6)), behind)
        assert action.chunks >= 1
        ahead, behind = ahead - action.chunks, behind - action.chunks
        calls += action.run_unet
    assert calls <= table.bound_slots == bound_slots(table.chunks_per_decode, 4)


def test_taking_turns_is_never_better_than_decoding_at_once() -> None:
    cost = CostModel(make_profile([0.1, 0.05], [0.05, 0.05], None))
    table = build_table(cost, 0.0, max_active=2, max_waiting=2)
    assert not table.unet[:, 1:].any()


def test_free_overlap_hides_every_chunk_that_fits() -> None:
    cost = CostModel(make_profile([0.1, 0.1], [0.02] * 5, (0.0, 0.0), coarse=False))
    table = build_table(cost, 4.0, max_active=2, max_waiting=4)
    assert table.action(2, 15).run_unet
    assert table.action(2, 15).chunks == 10  # 0.2 s of UNet hide ten chunks of 0.02 s


def test_past_the_edge_the_head_keeps_its_position() -> None:
    cost = CostModel(make_profile([0.1, 0.1], [0.02] * 5, (0.2, 0.2)))
    table = build_table(cost, 1.0, max_active=2, max_waiting=4)
    for waiting in range(21, 60):
        row, column = table.clamp(9, waiting)
        assert row == 2
        assert 15 < column <= 20
        assert column % 5 == waiting % 5
        assert table.action(9, waiting).chunks <= waiting


def test_rows_stand_for_samples() -> None:
    cost = CostModel(make_profile([0.1, 0.1], [0.02] * 5, (0.2, 0.2)))
    table = build_table(cost, 1.0, max_active=8, max_waiting=4)
    assert table.action_for_rows(3, 7) == table.action(3, 7)
    assert table.chunks_left(1.0) == 5
    assert table.chunks_left(0.01) == 1
