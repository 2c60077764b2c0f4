"""The calibration file: it round-trips, and a broken or foreign one is told apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from synerdiff.engine.calibration import (
    FILE_NAME,
    Boldness,
    Calibration,
    Limits,
    decode,
    default_calibration,
    encode,
    load_calibration,
)
from synerdiff.engine.skip import extrapolation_share, must_run, path_of, predicted_error
from synerdiff.protocol.errors import ModelError

LIMITS = Limits(tolerance=0.2, longest=4, stale=1.0, gain=2.0)
CALIBRATION = Calibration(
    classes={"balanced": LIMITS, "fast": LIMITS},
    boldness={"fast": Boldness((8, 32), (3.0, 5.0), ((4.0, 1.0), (1.0, 0.25)))},
    extrapolation=((3.0, 0.5), (5.0, 0.1)),
    model_hash="abc",
)


def test_it_round_trips() -> None:
    assert decode(encode(CALIBRATION)) == CALIBRATION
    assert decode(encode(default_calibration())) == default_calibration()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"version": 99}, "version"),
        ({"classes": {"exact": {"tolerance": 1.0, "longest": 1}}}, "exact"),
        ({"classes": {"fast": {"tolerance": -1.0, "longest": 1}}}, "fast"),
        ({"extrapolation": []}, "extrapolation"),
        ({"boldness": {"fast": {"steps": [8, 4], "guidance": [5], "factors": [[1], [1]]}}}, "boldness.steps"),
        ({"boldness": {"fast": {"steps": [8], "guidance": [5], "factors": [[1, 2]]}}}, "boldness.factors"),
        ({"boldness": {"fast": {"steps": [8], "guidance": [5], "factors": [[-1]]}}}, "boldness.factors"),
        ({"boldness": {"fast": {"steps": [8]}}}, "factors"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_broken_document_is_named(change: dict[str, object], named: str) -> None:
    document = {**json.loads(encode(CALIBRATION)), **change}
    with pytest.raises(ModelError, match=named):
        decode(json.dumps(document))


def test_another_models_file_is_not_used(tmp_path: Path) -> None:
    assert load_calibration(tmp_path, "abc") == default_calibration()
    (tmp_path / FILE_NAME).write_text(encode(CALIBRATION), encoding="utf-8")
    assert load_calibration(tmp_path, "abc") == CALIBRATION
    assert load_calibration(tmp_path, "def") == default_calibration()


def test_extrapolation_is_interpolated_between_scales() -> None:
    assert [extrapolation_share(CALIBRATION, scale) for scale in (1.0, 3.0, 9.0)] == [0.5, 0.5, 0.1]
    assert extrapolation_share(CALIBRATION, 4.0) == pytest.approx(0.3)


def test_limits_scale_by_steps_and_guidance_and_get_careful_past_the_grid() -> None:
    def tolerance(steps: int, scale: float, quality: str = "fast") -> float:
        limits = CALIBRATION.limits(quality, steps, scale)
        assert limits is not None
        return limits.tolerance / LIMITS.tolerance

    assert [tolerance(8, 3.0), tolerance(32, 3.0), tolerance(32, 5.0)] == pytest.approx([4.0, 1.0, 0.25])
    assert tolerance(16, 4.0) == pytest.approx(1.0)
    assert tolerance(4, 1.5) == tolerance(8, 3.0)
    assert tolerance(32, 10.0) == pytest.approx(0.25 / 4)
    assert tolerance(16, 4.0, "balanced") == 1.0
    assert CALIBRATION.limits("exact", 25, 5.0) is None


def test_the_predicted_error_grows_with_what_makes_a_skip_worse() -> None:
    path = path_of([0.05, 0.2, 0.4, 0.6, 0.8, 0.95])

    def error(last: int = 2, speed: float = 1.0, scale: float = 5.0) -> float:
        return predicted_error(CALIBRATION, path, 3, last, speed, scale)

    assert error() > 0
    assert error(last=1) > error()
    assert error(speed=2.0) == pytest.approx(2 * error())
    assert error(scale=7.5) > error()


def test_each_limit_alone_makes_a_step_run() -> None:
    path = path_of([0.05 + 0.03 * i for i in range(30)])
    assert not must_run(LIMITS, path, 10, 9, scale=3.0, error=0.1)
    assert must_run(LIMITS, path, 10, 9, scale=3.0, error=0.3)
    assert must_run(LIMITS, path, 10, 9, scale=3.0, error=float("nan"))
    assert must_run(LIMITS, path, 10, 9, scale=3.0, error=0.1, strictness=0.1)
    assert must_run(LIMITS, path, 10, 5, scale=3.0, error=0.0)
    assert must_run(LIMITS, path, 10, 9, scale=40.0, error=0.0)
    assert must_run(LIMITS, path, 0, -1, scale=3.0, error=0.0)
    assert must_run(LIMITS, path_of([0.1, 0.3, 0.5, 0.7]), 3, 2, scale=3.0, error=0.0)
