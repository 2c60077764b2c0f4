"""Profiles that ship with the package: GPU ones derived from published figures, and measured ones."""

from __future__ import annotations

from importlib import resources

from synerdiff.policy.errors import PolicyError
from synerdiff.policy.profile import Profile, parse_profile


def shipped_names() -> tuple[str, ...]:
    """The names that :func:`shipped_profile` knows."""
    found = (resources.files("synerdiff.policy") / "profiles").iterdir()
    return tuple(sorted(entry.name.removesuffix(".json") for entry in found if entry.name.endswith(".json")))


def shipped_profile(name: str) -> Profile:
    """The shipped profile called ``name``; its ``assumptions`` say what in it was not measured."""
    if name not in shipped_names():
        raise PolicyError("profile", f"must be a file or one of {', '.join(shipped_names())}; got {name!r:.60}")
    return parse_profile((resources.files("synerdiff.policy") / "profiles" / f"{name}.json").read_text())
