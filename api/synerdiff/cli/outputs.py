"""Files that a command writes at its end: checked before it begins, so that no figure is lost to a wrong path."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from synerdiff.cli.console import print_json
from synerdiff.cli.extras import require
from synerdiff.cli.job_input import wrong

STDOUT = Path("-")
PLOTS = (".png", ".pdf", ".svg")


def check_outputs(*, json_file: Path | None = None, plot: Path | None = None) -> None:
    """Refuse what could not be written: ``--json`` (``-`` is standard output) and ``--plot``.

    Raises :class:`InvalidJob` that names the option, or :class:`Unavailable` where nothing is installed to plot with.
    """
    if json_file is not None and json_file != STDOUT:
        _check("json", json_file)
    if plot is not None:
        require("bench")
        if plot.suffix.lower() not in PLOTS:
            raise wrong("plot", f"--plot must end in {', '.join(PLOTS)}; got {plot}")
        _check("plot", plot)


def write_json(document: Any, path: Path | None) -> bool:
    """Write a document to a file, if one is given; true when it went to standard output, which is then full."""
    if path == STDOUT:
        print_json(document)
        return True
    if path is not None:
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return False


def _check(option: str, path: Path) -> None:
    if path.is_dir():
        raise wrong(option, f"--{option} must name a file; {path} is a directory")
    if not path.parent.is_dir():
        raise wrong(option, f"--{option} {path} cannot be written: there is no directory {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise wrong(option, f"--{option} {path} cannot be written: permission denied")
