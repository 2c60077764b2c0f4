"""Examples on the pages that are marked ``run`` (three backticks, the language, ``run``) are run as they stand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.markdown import Code, code, pages

MARKED = [piece for page in pages() for piece in code(page) if piece.info.split(" ")[1:] == ["run"]]


@pytest.mark.parametrize("example", MARKED, ids=lambda piece: piece.where)
def test_an_example_runs(example: Code, tmp_path: Path) -> None:
    language = example.info.split(" ")[0]
    command = {"sh": ["bash", "-eu", "-c"], "python": [sys.executable, "-c"]}[language]
    bin_ = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{bin_}:{os.environ['PATH']}"}
    finished = subprocess.run(
        [*command, example.text], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
    )
    assert finished.returncode == 0, f"{example.where}\n{finished.stdout[-2000:]}\n{finished.stderr[-2000:]}"


def test_some_examples_are_marked() -> None:
    assert MARKED
