"""Profiles: what is read back is what was written, and a wrong one is refused by field."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synerdiff.policy import PolicyError, Profile, parse_profile, planning_document, profile_document
from synerdiff.policy.batch import batch_cap
from synerdiff.policy.cost import CostModel
from synerdiff.policy.shipped import shipped_names, shipped_profile

SDXL = shipped_profile("h100-sdxl-1024")
PLAIN: dict[str, Any] = json.loads(profile_document(SDXL))


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_profiles_survive_a_round_trip_and_name_their_assumptions(name: str) -> None:
    profile = shipped_profile(name)
    assert parse_profile(profile_document(profile)) == profile
    assert profile.assumptions


def test_what_older_schedulers_do_not_know_is_only_written_where_it_says_something() -> None:
    assert not {"exact_s", "unet_rows"} & set(PLAIN)
    dearer = replace(SDXL, exact_s=(0.2, 0.3))
    assert parse_profile(profile_document(dearer)) == dearer
    assert planning_document(dearer) == profile_document(SDXL)
    padded = replace(dearer, unet_rows="padded up to 32")
    assert parse_profile(planning_document(padded)) == replace(padded, exact_s=())
    assert padded.profile_id != SDXL.profile_id


def test_the_id_depends_on_the_place_and_not_on_the_figures() -> None:
    slower = replace(SDXL, unet_s=tuple(2 * each for each in SDXL.unet_s))
    assert slower.profile_id == SDXL.profile_id
    assert slower.figures_hash != SDXL.figures_hash
    assert replace(SDXL, device="other").profile_id != SDXL.profile_id


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"format": 2}, "format"),
        ({"colour": 1}, "colour"),
        ({"rows": [2, 1]}, "rows[1]"),
        ({"rows": [0, 1]}, "rows[0]"),
        ({"rows": 3}, "rows"),
        ({"unet_s": [0.1]}, "unet_s"),
        ({"unet_s": [0.1, "x", 1, 1, 1, 1, 1]}, "unet_s[1]"),
        ({"unet_s": [0.1, -1.0, 1, 1, 1, 1, 1]}, "unet_s[1]"),
        ({"granularities": []}, "granularities"),
        ({"granularities": [{"name": "a"}]}, "granularities[0].chunk_s"),
        ({"granularities": [{"name": "a", "chunk_s": [0.1, 0.1]}, {"name": "b", "chunk_s": [0.2]}]}, "granularities"),
        ({"pairs": {"rows": [1], "decodes": [1.0], "unet_s": [[1.0]], "vae_s": []}}, "pairs.vae_s"),
        ({"pairs": {"rows": [1]}}, "pairs.decodes"),
        ({"rows_per_sample": 3}, "rows_per_sample"),
        ({"width": "wide"}, "width"),
        ({"skips": {"fast": {"first": 0.5, "refresh": 0}}}, "skips.fast.refresh"),
        ({"slot_s": float("nan")}, "slot_s"),
        ({"slot_s": 10**400}, "slot_s"),
        ({"steps": 1001}, "steps"),
        ({"granularities": [{"name": "dust", "chunk_s": [0.001] * 1001}]}, "granularities"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(PolicyError) as raised:
        parse_profile(json.dumps(PLAIN | change))
    assert raised.value.field == field


@pytest.mark.parametrize("document", ["", "[]", "{", '{"format": 1}', "null"])
def test_what_is_no_profile_is_refused(document: str) -> None:
    with pytest.raises(PolicyError):
        parse_profile(document)


def test_an_unknown_shipped_profile_lists_the_known_ones() -> None:
    with pytest.raises(PolicyError, match="h100-sdxl-1024"):
        shipped_profile("h200")


@given(st.integers(1, 200))
def test_the_unet_curve_never_falls_and_meets_the_measurements(rows: int) -> None:
    cost = CostModel(SDXL)
    assert float(cost.unet(rows + 1)) >= float(cost.unet(rows))
    np.testing.assert_allclose(cost.unet(SDXL.rows), SDXL.unet_s)


def test_pairs_that_were_measured_come_out_again() -> None:
    cost, pairs = CostModel(SDXL), SDXL.pairs
    assert pairs is not None
    for i, rows in enumerate(pairs.rows):
        for j, share in enumerate(pairs.decodes):
            slot, done = cost.beside(rows, share * SDXL.finest.decode_s)
            assert float(slot) == pytest.approx(max(pairs.unet_s[i][j], pairs.vae_s[i][j]), rel=1e-9)
            assert float(done) == pytest.approx(pairs.vae_s[i][j], rel=1e-9)


def test_without_pairs_both_take_turns() -> None:
    cost = CostModel(replace(SDXL, pairs=None))
    slot, _ = cost.beside(2, 0.1)
    assert float(slot) == pytest.approx(SDXL.unet_s[1] + 0.1)


def test_granularities_are_aligned_with_the_finest() -> None:
    cost = CostModel(SDXL)
    assert [cut.ends.tolist() for cut in cost.cuts][:2] == [[0, 16], [0, 4, 8, 12, 16]]


@pytest.mark.parametrize(("overhead", "cap"), [(0.0, 1), (0.1, 3), (1.0, 9)])
def test_the_batch_cap_grows_with_what_batching_gains(overhead: float, cap: int) -> None:
    """U(n) = overhead + n: the cap is the smallest n with 96% of the rate at 16 samples."""
    profile = Profile(
        "m",
        "d",
        "float32",
        64,
        64,
        tuple(range(1, 17)),
        tuple(overhead + n for n in range(1, 17)),
        SDXL.granularities,
        rows_per_sample=1,
    )
    found = batch_cap(CostModel(profile))
    best = 16 / (overhead + 16)
    assert found / (overhead + found) >= 0.96 * best
    assert found == 1 or (found - 1) / (overhead + found - 1) < 0.96 * best
    assert found <= cap + 3


def test_memory_bounds_the_batch_cap() -> None:
    assert batch_cap(CostModel(replace(SDXL, max_rows=4))) == 2
