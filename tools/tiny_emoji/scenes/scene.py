"""What a training image shows, as values: captions are drawn from it anew at every use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Thing:
    """An object; ``colour`` is None where it has no one colour, ``recoloured`` where that isn't its own."""

    noun: str
    colour: str | None = None
    recoloured: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """One image: style, background (a colour or a place), one or two things, and their layout where it is unusual."""

    style: str
    background: str
    things: tuple[Thing, ...]
    size: str | None = None
    position: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The form in which latents files keep a scene."""
        things = [(thing.noun, thing.colour, thing.recoloured) for thing in self.things]
        return {"style": self.style, "bg": self.background, "objs": things, "size": self.size, "pos": self.position}


def scene_of(fields: Mapping[str, Any]) -> Scene:
    """Read what :meth:`Scene.as_dict` wrote."""
    things = tuple(Thing(noun, colour, recoloured) for noun, colour, recoloured in fields["objs"])
    return Scene(fields["style"], fields["bg"], things, fields["size"], fields["pos"])
