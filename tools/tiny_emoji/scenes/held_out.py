"""Prompts kept for measuring: their combinations of object, colour and background are never composed for training.

``data/held_out.tsv`` lists them. A scene that shows one of them is drawn again (``compose``) or left out (latents made
before the list), whatever its caption would say. Part ``natural`` has objects in their own colour, part
``recoloured`` in another.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from tools.tiny_emoji.scenes.art import DATA
from tools.tiny_emoji.scenes.scene import Scene

Triple = tuple[str, str | None, str]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """One prompt and what an image of it must show."""

    part: str
    noun: str
    colour: str
    background: str
    prompt: str


@cache
def held_out_prompts() -> tuple[HeldOut, ...]:
    """The committed list, in its order."""
    rows = (DATA / "held_out.tsv").read_text(encoding="utf-8").splitlines()
    return tuple(HeldOut(*row.split("\t")) for row in rows[1:])


@cache
def held_out_triples() -> frozenset[Triple]:
    """(noun, colour, background) of every held-out prompt."""
    return frozenset((row.noun, row.colour, row.background) for row in held_out_prompts())


def is_held_out(scene: Scene) -> bool:
    """Whether any thing of the scene is a held-out combination with its background."""
    return any((thing.noun, thing.colour, scene.background) in held_out_triples() for thing in scene.things)
