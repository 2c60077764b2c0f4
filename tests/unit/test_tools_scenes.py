"""Scenes of the shipped model's training: the same by seed, said as they are, never a held-out one."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from tools.tiny_emoji.scenes.art import Art, caption_nouns, load_art, split_colour, unseen_nouns
from tools.tiny_emoji.scenes.backgrounds import PLACES
from tools.tiny_emoji.scenes.captions import SYNONYMS, article, caption
from tools.tiny_emoji.scenes.colours import BACKGROUNDS, HUES, OBJECT_COLOURS, dominant, in_colour, name_of
from tools.tiny_emoji.scenes.compose import Mix, compose, reference
from tools.tiny_emoji.scenes.held_out import HeldOut, held_out_prompts, is_held_out
from tools.tiny_emoji.scenes.scene import Scene, Thing, scene_of


@cache
def few() -> Art:
    return load_art({"star", "heart", "penguin", "circle"})


def test_a_seed_gives_the_same_scenes() -> None:
    runs = [[compose(few(), np.random.default_rng(3)) for _ in range(3)] for _ in range(2)]
    for (first, shown), (second, shown_again) in zip(*runs, strict=True):
        assert shown == shown_again
        assert np.array_equal(first, second)
        assert first.shape == (128, 128, 3)
        assert first.dtype == np.uint8


def test_captions_say_what_the_scene_shows() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        _, scene = compose(few(), rng, Mix(pairs=0.3, layouts=0.4))
        said = caption(scene, rng)
        for thing in scene.things:
            assert thing.noun in said or SYNONYMS[thing.noun] in said
            assert not thing.recoloured or f"{thing.colour} " in said
        if scene.background in PLACES:
            assert said.endswith(PLACES[scene.background])
        elif scene.background != "white":
            assert f"{scene.background} background" in said
        assert (scene.position or "") in said
        assert said == said.lower()


def test_a_scene_survives_its_file_form() -> None:
    scene = Scene("3d", "light blue", (Thing("star", "red", True), Thing("cat")), "small", "on the left")
    assert scene_of(scene.as_dict()) == scene


def test_a_held_out_combination_is_never_composed() -> None:
    held_out = next(row for row in held_out_prompts() if row.noun == "star")
    thing = Thing("star", held_out.colour, held_out.part == "recoloured")
    assert is_held_out(Scene("flat", held_out.background, (Thing("circle"), thing)))
    assert not is_held_out(Scene("flat", "night", (thing,)))
    rng = np.random.default_rng(1)
    stars = load_art({"star"})
    assert not any(is_held_out(compose(stars, rng, Mix(recolours=0.9))[1]) for _ in range(300))


def test_held_out_prompts_are_a_hundred_or_more_and_sayable() -> None:
    rows = held_out_prompts()
    assert len({row.prompt for row in rows}) == len(rows) >= 100
    for row in rows:
        assert row.noun in caption_nouns()
        assert row.colour in OBJECT_COLOURS
        assert row.background in BACKGROUNDS
        assert row.prompt == f"{article(f'{row.colour} {row.noun}')} on {article(row.background)} background"
    assert {row.part for row in rows} == {"natural", "recoloured"}


def test_a_reference_shows_the_prompt() -> None:
    wanted = HeldOut("recoloured", "circle", "blue", "yellow", "a blue circle on a yellow background")
    image = reference(few(), wanted, np.random.default_rng(0))
    assert image[64, 64].argmax() == 2
    assert image[2, 2].argmin() == 2


def test_art_held_out_of_the_vae_is_in_no_caption() -> None:
    assert len(unseen_nouns()) >= 10
    assert unseen_nouns().isdisjoint(caption_nouns())


@pytest.mark.parametrize(
    ("hue", "value", "name"), [(5, 0.9, "red"), (350, 0.9, "red"), (25, 0.5, "brown"), (215, 0.9, "blue")]
)
def test_hues_have_names(hue: float, value: float, name: str) -> None:
    assert name_of(hue, value) == name


@pytest.mark.parametrize("noun", ["pine tree", "tree"])
def test_recoloured_art_has_the_colour_that_captions_say(noun: str) -> None:
    for sprite in load_art({noun}).of(noun, "flat"):
        assert sprite.hue is not None
        for colour in HUES:
            assert dominant(in_colour(sprite.image, sprite.hue, colour))[1] in (colour, None)


def test_a_recoloured_thing_is_never_called_by_a_name_of_another_colour() -> None:
    rng = np.random.default_rng(2)
    scene = Scene("flat", "white", (Thing("bird", "blue", recoloured=True),))
    said = [caption(scene, rng) for _ in range(100)]
    assert all("blue bird" in one for one in said)


def test_colours_are_parted_from_nouns() -> None:
    assert split_colour("red heart") == ("red", "heart")
    assert split_colour("orange") == (None, "orange")
    assert split_colour("palm tree") == (None, "palm tree")


def test_art_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="no art for griffin"):
        load_art({"star", "griffin"})
