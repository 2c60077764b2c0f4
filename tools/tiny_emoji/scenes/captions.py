"""Captions: one scene can be said in many ways, and every use draws another."""

from __future__ import annotations

import numpy as np

from tools.tiny_emoji.scenes.art import split_colour
from tools.tiny_emoji.scenes.backgrounds import PLACES
from tools.tiny_emoji.scenes.scene import Scene, Thing

STYLES = {
    "flat": ("a flat icon of", "flat icon of", "a flat drawing of"),
    "3d": ("a 3d render of", "3d render of", "a 3d icon of"),
}
OPENINGS = ("a picture of", "an image of", "a photo of", "a drawing of", "an emoji of")
SYNONYMS = {
    "car": "automobile", "ufo": "flying saucer", "dog": "puppy", "cat": "kitten", "rabbit": "bunny",
    "airplane": "plane", "burger": "hamburger", "donut": "doughnut", "happy face": "grinning emoji",
    "smiling face": "smiley", "tangerine": "orange fruit", "dinosaur": "brontosaurus", "gift box": "present",
    "ship": "boat", "phone": "smartphone", "bicycle": "bike", "earth": "globe", "fire": "flame", "sneaker": "shoe",
    "television": "tv", "cup of coffee": "coffee", "mug of beer": "beer", "planet": "saturn", "mountain": "hill",
    "fries": "french fries", "birthday cake": "cake", "clover": "four leaf clover", "pumpkin": "halloween pumpkin",
    "cherry blossom": "pink flower", "rose": "red flower", "ice cream cone": "ice cream", "pine tree": "fir tree",
    "bird": "red bird",
}  # fmt: skip
PLURAL = {
    "cherries", "grapes", "blueberries", "pancakes", "fries", "socks", "headphones", "sunglasses", "jeans", "bread",
    "cheese", "popcorn", "broccoli", "corn", "sushi", "fire", "french fries",
}  # fmt: skip


def article(phrase: str) -> str:
    """``a`` or ``an``, by the first letter as captions need it (a unicorn, an umbrella)."""
    vowel = phrase[0] in "aeio" or phrase.startswith("umb")
    return f"an {phrase}" if vowel else f"a {phrase}"


def _choose(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return options[rng.integers(len(options))]


def _noun_phrase(thing: Thing, size: str | None, rng: np.random.Generator) -> str:
    """A recoloured thing always says its colour, another half the time."""
    synonym = thing.noun in SYNONYMS and rng.random() < 0.15
    noun = SYNONYMS[thing.noun] if synonym else thing.noun
    if thing.recoloured and split_colour(noun)[0] is not None:
        noun = thing.noun  # no blue red bird
    said = thing.colour is not None and (thing.recoloured or rng.random() < 0.5)
    phrase = " ".join(word for word in (size, thing.colour if said else None, noun) if word)
    bare = noun in PLURAL and size is None and (phrase == noun or rng.random() < 0.5)
    return phrase if bare else article(phrase)


def _opening(scene: Scene, things: str, rng: np.random.Generator) -> str:
    if rng.random() < 0.4:
        return f"{_choose(STYLES[scene.style], rng)} {things}"
    if rng.random() < 0.2:
        return f"{_choose(OPENINGS, rng)} {things}"
    if rng.random() < 0.08 and len(scene.things) == 1:
        return things.removeprefix("a ").removeprefix("an ")
    return things


def _setting(background: str, rng: np.random.Generator) -> str:
    """White goes without saying more often than not."""
    if background in PLACES:
        return f" {PLACES[background]}"
    if background == "white" and rng.random() < 0.6:
        return ""
    chance = rng.random()
    if chance < 0.7:
        return f" on {article(background)} background"
    return f", {background} background" if chance < 0.85 else f" with {article(background)} background"


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """One way to say the scene, in lower case."""
    phrases = [_noun_phrase(thing, None if place else scene.size, rng) for place, thing in enumerate(scene.things)]
    said = _opening(scene, " and ".join(phrases), rng)
    where = f" {scene.position}" if scene.position else ""
    return said + where + _setting(scene.background, rng)
