"""The cache of CPU kernels is widened before the first kernel, and an operator's own limit stays."""

from __future__ import annotations

import os

import pytest

from synerdiff.engine.kernel_cache import CAPACITY, widen_kernel_cache

NAME = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"


@pytest.mark.parametrize(("given", "found"), [(None, str(CAPACITY)), ("2048", "2048")])
def test_it_is_widened_unless_the_environment_says_otherwise(
    given: str | None, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "")  # so that it is put back
    monkeypatch.setenv(NAME, given or "")
    if given is None:
        monkeypatch.delenv(NAME)
    widen_kernel_cache()
    assert os.environ[NAME] == found
