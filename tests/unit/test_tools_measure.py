"""The shipped model's measuring tools: the background rule, the classifier, the report."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synerdiff.engine.model import shipped_path
from tools.tiny_emoji.measure.border import background_of, ring_of, to_lab
from tools.tiny_emoji.measure.classifier import Judge, Net, load_judge, save_judge, train_judge
from tools.tiny_emoji.measure.control import ceiling, measure_control, score
from tools.tiny_emoji.measure.grid import draw_grid
from tools.tiny_emoji.measure.paired import paired
from tools.tiny_emoji.measure.report import draw_curve, to_markdown
from tools.tiny_emoji.scenes.art import Art, load_art
from tools.tiny_emoji.scenes.backgrounds import background
from tools.tiny_emoji.scenes.colours import BACKGROUNDS
from tools.tiny_emoji.scenes.compose import reference
from tools.tiny_emoji.scenes.held_out import HeldOut, held_out_prompts


@cache
def few() -> Art:
    return load_art({"star", "circle"})


@cache
def wanted() -> tuple[HeldOut, ...]:
    return tuple(row for row in held_out_prompts() if row.noun in few().nouns)


def test_lab_of_known_colours() -> None:
    assert to_lab([255, 255, 255]) == pytest.approx([100, 0, 0], abs=0.1)
    assert to_lab([255, 0, 0]) == pytest.approx([53.2, 80.1, 67.2], abs=0.2)


def test_the_ring_is_six_pixels_wide() -> None:
    assert len(ring_of(np.zeros((128, 128, 3), dtype=np.uint8))) == 128**2 - 116**2


def test_plain_backgrounds_are_recognised() -> None:
    rng = np.random.default_rng(0)
    found = [background_of(np.asarray(background(name, rng))) == name for name in BACKGROUNDS for _ in range(10)]
    assert sum(found) >= 0.97 * len(found)


def test_composed_images_have_the_background_they_were_composed_with() -> None:
    rng = np.random.default_rng(0)
    images = [reference(few(), row, rng) for row in wanted()]
    assert score(images, wanted(), None)["all"]["background"] >= 0.9


def test_a_classifier_tells_two_objects_apart_and_is_kept(tmp_path: Path) -> None:
    judge = train_judge(few(), shipped_path() / "vae", 256, lambda: None)
    rates = ceiling(few(), wanted(), shipped_path() / "vae", judge)["all"]
    assert set(rates) == {"background", "object", "colour", "all three"}
    assert rates["object"] >= 0.7
    save_judge(judge, tmp_path / "judge.pt")
    image = reference(few(), wanted()[0], np.random.default_rng(0))
    assert load_judge(tmp_path / "judge.pt").look([image]) == judge.look([image])


def test_shares_are_counted_by_part() -> None:
    rows = [HeldOut("natural", "star", "yellow", "black", ""), HeldOut("recoloured", "star", "blue", "white", "")]
    images = [np.zeros((128, 128, 3), dtype=np.uint8)] * 2
    rates = score(images, rows, None)
    assert [rates[part]["background"] for part in ("all", "natural", "recoloured")] == [0.5, 1.0, 0.0]


def test_the_shipped_model_is_measured_and_reported() -> None:
    judge = Judge(few().nouns, Net(2))
    rows, vae = wanted()[:2], shipped_path() / "vae"
    document = measure_control({"tiny-emoji": None}, rows, few(), vae, judge, guidance=(3.0,), scenes=8, seeds=2)
    assert document["prompts"] == 2
    answers = document["answers"]["tiny-emoji"]["3"]
    assert [len(seed) for seed in answers["background"]] == [2, 2]
    assert document["models"]["tiny-emoji"]["3"]["all"]["background"] == "".join(answers["background"]).count("1") / 4
    document |= {"against": "exact", "paired": paired(document, document)}
    assert document["chance"]["background"] == pytest.approx(1 / 13)
    assert set(document["classifier"]) == {"object", "colour"}
    text = to_markdown(document)
    assert "| tiny-emoji | 3 |" in text
    assert "*chance*" in text
    assert "+0.0 ± 0.0" in text


def test_the_same_images_differ_in_nothing_and_one_more_right_is_counted() -> None:
    same = {"prompts": 4, "seeds": 2, "steps": 25, "sampler": "ddim", "quality": "exact"}
    exact = {**same, "answers": {"m": {"3": {"object": ["1100", "1101"]}}}}
    better = {**same, "answers": {"m": {"3": {"object": ["1110", "1101"]}, "6": {"object": ["1111", "1111"]}}}}
    assert paired(exact, exact)["m"]["3"]["object"] == {"difference": 0.0, "error": 0.0}
    found = paired(better, exact)["m"]
    assert found == {"3": {"object": {"difference": 0.125, "error": pytest.approx(0.125)}}}


def test_other_seeds_are_not_compared() -> None:
    document = {"prompts": 2, "seeds": 4, "steps": 25, "sampler": "ddim", "answers": {}}
    with pytest.raises(ValueError, match="its seeds are 1, here 4"):
        paired(document, {**document, "seeds": 1})


def test_grids_hold_every_image() -> None:
    images = [np.full((128, 128, 3), shade, dtype=np.uint8) for shade in range(10)]
    sheet = draw_grid(images, ["a star"] * 10)
    assert sheet.width == 8 * 132 - 4
    assert sheet.getpixel((0, sheet.height // 2)) == (8, 8, 8)


def test_a_curve_is_drawn_over_the_samples_that_its_models_are_named_by(tmp_path: Path) -> None:
    def picture(last: float) -> bytes:
        rates = {name: {"3": {"all": {"object": share}}} for name, share in (("00001000", 0.1), ("00009000", last))}
        document = {"models": rates, "ceiling": {"all": {"object": 0.9}}, "chance": {"object": 0.01}}
        draw_curve(document, tmp_path / "curve.png")
        return Image.open(tmp_path / "curve.png").convert("RGB").tobytes()

    assert picture(0.5) == picture(0.5)
    assert picture(0.5) != picture(0.6)
