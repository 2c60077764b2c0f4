"""The scripts as texts: documented, flagged, and every key named in the one list of keys."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from synerdiff.ledger.scripts import SHARED, pairs, source, text

LUA = files("synerdiff.ledger").joinpath("lua")
OPERATIONS = sorted(
    item.name.removesuffix(".lua") for item in LUA.iterdir() if item.name.removesuffix(".lua") not in SHARED
)
REFUSED_WHEN_FULL = {"submit", "retry", "keep"}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_says_what_it_does_and_may_do_in_a_full_redis(name: str) -> None:
    shebang, *rest = LUA.joinpath(f"{name}.lua").read_text().splitlines()
    assert shebang.startswith("#!lua")
    assert ("allow-oom" in shebang or "no-writes" in shebang) == (name not in REFUSED_WHEN_FULL)
    head = [line for line in rest[:15] if line.startswith("--")]
    assert head[0].endswith(".") or len(head) > 1
    assert any("->" in line for line in head), "its answer is not documented"
    assert source(name).startswith(shebang)


def test_every_key_is_in_the_list_of_keys() -> None:
    listed = LUA.joinpath("keys.lua").read_text()
    for name in [*OPERATIONS, *SHARED]:
        for key in re.findall(r"P \.\. '([a-z_:]+)'", LUA.joinpath(f"{name}.lua").read_text()):
            assert re.search(rf"^-- {re.escape(key)}(\{{|\s)", listed, re.MULTILINE), f"{key} of {name}.lua"


def test_replies_are_read_as_text_whatever_the_client_decodes() -> None:
    assert text([b"a", [b"b", 1], None]) == ["a", ["b", 1], None]
    assert pairs(["a", "1", "b", "2"]) == {"a": "1", "b": "2"}
