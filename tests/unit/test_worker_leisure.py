"""Measuring a profile again between jobs: in pieces, not too often, and never the end of a worker."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from synerdiff.engine.config import EngineConfig
from synerdiff.engine.model import LoadedModel
from synerdiff.engine.profiler import Served, device_label, serving_profile
from synerdiff.policy import Granularity, Profile
from synerdiff.policy.profile import parse_profile
from synerdiff.workers.leisure import AGAIN_AFTER_S, FIRST_AFTER_S, Leisure
from tests.engines import random_model


class Clock:
    """Moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def known(model: LoadedModel) -> Profile:
    """A profile with figures that are plainly wrong."""
    cut = (Granularity("whole", (900.0,)),)
    place = (model.name, device_label(model.device), "float32", 64, 64)
    return Profile(*place, (1, 2), (800.0, 900.0), cut, model_hash=model.model_hash, threads=1)


def work_off(leisure: Leisure) -> list[Profile]:
    found = []
    while leisure.busy:
        if profile := leisure.work():
            found.append(profile)
    return found


def test_a_profile_is_measured_in_pieces_kept_and_not_again_soon(tmp_path: Path) -> None:
    model, clock, path = random_model(), Clock(), tmp_path / "profile.json"
    before = known(model)
    leisure = Leisure(model, Served(before, path), clock)
    leisure.ask()
    assert not leisure.busy, "a worker has just started"
    assert leisure.work() is None
    leisure.ask(False)
    clock.now = FIRST_AFTER_S
    assert not leisure.busy, "a later plan does not ask"
    clock.now = 0.0
    leisure.ask()
    clock.now = FIRST_AFTER_S
    assert leisure.busy, "what was asked for too soon is not forgotten"
    assert leisure.work() is None
    assert leisure.busy, "one piece is not all"
    (after,) = work_off(leisure)
    assert (after.rows, [cut.name for cut in after.granularities]) == ((1, 2), ["whole"])
    assert after.unet_s[0] < before.unet_s[0]
    assert parse_profile(path.read_text()) == after
    leisure.ask()
    assert not leisure.busy
    clock.now += AGAIN_AFTER_S
    assert leisure.busy


def test_a_measurement_that_fails_leaves_the_worker_as_it_is() -> None:
    model, clock = random_model(), Clock()
    leisure = Leisure(model, Served(replace(known(model), width=63), None), clock)
    clock.now = FIRST_AFTER_S
    leisure.ask()
    assert work_off(leisure) == []


@pytest.mark.parametrize("cached", [True, False])
def test_a_workers_start_measures_once_and_keeps_it_where_there_is_a_place(cached: bool, tmp_path: Path) -> None:
    model = random_model()
    where = tmp_path if cached else ""
    first = serving_profile(model, cache_dir=where, threads=1)
    again = serving_profile(model, cache_dir=where, threads=1)
    assert (first.profile == again.profile) is cached
    assert first.profile.profile_id == again.profile.profile_id
    assert (first.profile.executor, first.profile.threads) == ("serial", 1)


def test_a_worker_that_pads_its_calls_goes_by_a_profile_of_padded_calls_of_its_own(tmp_path: Path) -> None:
    model, clock = random_model(), Clock()
    padded = EngineConfig(capacity=2, unet_rows="padded")
    plain = serving_profile(model, cache_dir=tmp_path, threads=1)
    served = serving_profile(model, cache_dir=tmp_path, threads=1, config=padded)
    assert (plain.profile.unet_rows, served.profile.unet_rows) == ("any", "padded up to 4")
    assert plain.profile.profile_id != served.profile.profile_id
    assert served == serving_profile(model, cache_dir=tmp_path, threads=1, config=padded)

    leisure = Leisure(model, served, clock)
    clock.now = FIRST_AFTER_S
    leisure.ask()
    (again,) = work_off(leisure)
    assert again.profile_id == served.profile.profile_id
