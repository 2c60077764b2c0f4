"""The profiler on a small checkpoint: what it measures is whole, is kept, and is refused elsewhere."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from benchmarks.checkpoints import make_checkpoint
from synerdiff.engine.config import EngineConfig
from synerdiff.engine.decode import GRANULARITIES
from synerdiff.engine.model import LoadedModel, load_model
from synerdiff.engine.profiler import Setup, apply_setup, check_profile, measure_profile, plot_profile, profile_of
from synerdiff.engine.profiler.contention import saved
from synerdiff.engine.profiler.sizes import config_at, setting_name, whole_stairs
from synerdiff.engine.profiler.workload import Workload
from synerdiff.policy.batch import batch_cap
from synerdiff.policy.cost import CostModel
from synerdiff.policy.profile import Pairs, Profile, parse_profile, profile_document
from synerdiff.protocol.errors import PlanError

PADDED = EngineConfig(capacity=3, unet_rows="padded")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(make_checkpoint(tmp_path_factory.mktemp("model")), name="random", device="cpu", threads=1)


@pytest.fixture(scope="module")
def profile(model: LoadedModel) -> Profile:
    found = measure_profile(model, 64, 64, max_rows=4, repeats=1, executor="threads", threads=1)
    torch.set_num_threads(1)
    return found


def test_a_profile_covers_rows_granularities_and_pairs(profile: Profile, model: LoadedModel) -> None:
    assert profile.rows == (1, 2, 4)
    assert [cut.name for cut in profile.granularities] == list(GRANULARITIES)
    counts = [len(cut.chunk_s) for cut in profile.granularities]
    assert counts == [Workload(model, 64, 64).decode(name).chunks for name in GRANULARITIES]
    assert all(before <= after for before, after in pairwise(counts))
    assert profile.pairs is not None
    assert profile.pairs.rows == (1, 2, 4)
    assert profile.pairs.decodes[-1] == pytest.approx(1.0)
    assert (profile.executor, profile.threads, profile.rows_per_sample) == ("threads", 1, 2)
    assert profile.encode_s > 0


def test_a_profile_serves_the_planner_and_survives_json(profile: Profile) -> None:
    assert parse_profile(profile_document(profile)) == profile
    assert 1 <= batch_cap(CostModel(profile)) <= 2


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl", "lcm"])
def test_unet_calls_have_the_rows_asked_for_in_every_family(family: str, tmp_path: Path) -> None:
    work = Workload(load_model(make_checkpoint(tmp_path, family), device="cpu"), 64, 64)
    with torch.inference_mode():
        for rows in (1, 3):
            assert work.unet_call(rows)().shape == (rows, 4, 8, 8)


def test_calls_are_measured_as_the_engine_pads_them_and_exact_ones_as_they_are(model: LoadedModel) -> None:
    called: list[int] = []
    hook = model.unet.register_forward_pre_hook(lambda _, given: called.append(len(given[0])))
    found = measure_profile(model, 64, 64, max_rows=32, repeats=1, executor="serial", threads=1, config=PADDED)
    hook.remove()
    assert (found.rows, found.unet_rows) == ((1, 2, 3, 4, 5, 6), "padded up to 6")
    assert {1, 2, 4, 6} <= set(called)
    assert not {3, 5} & set(called), "three rows are called as four, five as six"
    assert len(found.exact_s) == 6
    assert parse_profile(profile_document(found)) == found
    assert float(CostModel(found).unet(12)) > 1.5 * found.unet_s[-1], "a last stair is no slope"

    apply_setup(model, Setup(1, "contiguous"))  # exact images then go to the UNet itself
    work = Workload(model, 64, 64, PADDED)
    with torch.inference_mode():
        for exact, rows in ((False, 6), (True, 5)):
            called.clear()
            hook = model.unet.register_forward_pre_hook(lambda _, given: called.append(len(given[0])))
            assert len(work.unet_call(5, exact=exact)()) == 5
            hook.remove()
            assert called == [rows]


def test_where_calls_are_compiled_a_profile_of_another_size_is_of_plain_ones(model: LoadedModel) -> None:
    compiled = EngineConfig(capacity=3, unet_rows="compiled")
    assert setting_name(config_at(compiled, model, 64, 64)) == "compiled up to 6"
    assert setting_name(config_at(compiled, model, 64, 128)) == "any"


def test_the_last_stair_that_fits_in_memory_is_a_whole_one() -> None:
    assert whole_stairs(PADDED, (1, 2, 3, 4, 5)) == (1, 2, 3, 4)
    assert whole_stairs(EngineConfig(), (1, 2, 4)) == (1, 2, 4)


@pytest.mark.parametrize(("taken", "found"), [((0.02, 0.015, 0.016), 0.016), ((0.3,), 0.3)])
def test_a_short_call_is_timed_after_others_like_it(
    taken: tuple[float, ...], found: float, model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(taken)
    monkeypatch.setattr(Workload, "seconds", lambda *_: next(clock))
    assert Workload(model, 64, 64).time_unet(1) == (found,)
    assert not list(clock)


def test_a_profile_of_another_model_or_device_is_refused(profile: Profile, model: LoadedModel) -> None:
    check_profile(profile, model, EngineConfig())
    others = {
        "model_hash": replace(profile, model_hash="another"),
        "device": replace(profile, device="another"),
        "dtype": replace(profile, dtype="another"),
        "unet_rows": replace(profile, unet_rows="another"),
    }
    for name, other in others.items():
        with pytest.raises(PlanError, match=f"{name} is 'another'") as caught:
            check_profile(other, model, EngineConfig())
        assert caught.value.field == name
    with pytest.raises(PlanError, match="unet_rows is 'any', but this is 'padded up to 6'"):
        check_profile(profile, model, PADDED)


def test_a_profile_is_measured_once(
    profile: Profile, model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []

    def measure(*_: object, **__: object) -> Profile:
        measured.append(1)
        return profile

    monkeypatch.setattr("synerdiff.engine.profiler.measure.measure_profile", measure)
    first = profile_of(model, 64, 64, cache_dir=tmp_path)
    assert profile_of(model, 64, 64, cache_dir=tmp_path) == first == profile
    assert len(measured) == 1
    profile_of(model, 64, 64, cache_dir=tmp_path, fresh=True)
    profile_of(model, 32, 64, cache_dir=tmp_path)
    profile_of(model, 64, 64, cache_dir=tmp_path, max_rows=8)
    profile_of(model, 64, 64, cache_dir=tmp_path, config=PADDED)
    assert len(measured) == 5
    (kept,) = [path for path in (tmp_path / "profiles").iterdir() if path.stat().st_size][:1]
    for path in (tmp_path / "profiles").iterdir():
        path.write_text("{damaged")
    assert kept.exists()
    assert profile_of(model, 64, 64, cache_dir=tmp_path) == profile
    assert len(measured) == 6


def test_memory_formats_change_images_by_rounding_alone(model: LoadedModel) -> None:
    work = Workload(model, 64, 64)
    images = {}
    for layout in ("channels_last", "contiguous"):
        apply_setup(model, Setup(1, layout))
        decode = work.decode("strips")
        decode.run(decode.chunks)
        images[layout] = decode.result()
    assert (images["channels_last"] - images["contiguous"]).abs().max() <= 1e-4


def test_what_overlap_saves_is_measured_against_taking_turns() -> None:
    pairs = Pairs(rows=(2,), decodes=(0.5, 1.0), unet_s=((1.0, 1.2),), vae_s=((0.6, 1.5),))
    assert saved(pairs, (1.0,), decode_s=1.0) == pytest.approx(1 - 1.0 / 1.5)


def test_the_plot_is_a_picture(profile: Profile, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="drawing needs the bench extra")
    for name, each in (("pairs.png", profile), ("turns.png", replace(profile, pairs=None))):
        plot_profile(each, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
