"""Which tenant a key stands for."""

from __future__ import annotations

import hashlib

import pytest

from synerdiff.api.keys import Keys
from synerdiff.protocol.errors import SettingsError

HASHED = hashlib.sha256(b"third").hexdigest()


def test_each_key_stands_for_its_tenant() -> None:
    keys = Keys(f"red:first, blue:second,red:sec:ond,green:sha256={HASHED}")
    assert keys.required
    assert [keys.tenant(key) for key in ("first", "second", "sec:ond", "third")] == ["red", "blue", "red", "green"]


@pytest.mark.parametrize("key", [None, "", "firs", "first ", "red:first", HASHED, f"sha256={HASHED}", "\udcff"])
def test_anything_else_stands_for_nobody(key: str | None) -> None:
    assert Keys(f"red:first,green:sha256={HASHED}").tenant(key) is None


def test_no_keys_means_none_are_needed() -> None:
    assert not Keys("").required
    assert Keys("").tenant("") is None


@pytest.mark.parametrize("pairs", ["hush", "red:", ":hush", "r d:hush", "red:sha256=hush", "red:ok,hush"])
def test_a_wrong_pair_is_a_sentence_without_the_key(pairs: str) -> None:
    with pytest.raises(SettingsError, match="SYNERDIFF_API_KEYS") as caught:
        Keys(pairs)
    assert "hush" not in caught.value.message
