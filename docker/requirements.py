"""Print what extras of the project need, one requirement a line: ``python3 docker/requirements.py worker``.

The images install these before the code is copied, so that a change of the code reuses the layer.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

OWN = re.compile(r"synerdiff\[([\w,]+)\]$")


def requirements(project: dict[str, object], extras: list[str]) -> list[str]:
    """The base requirements and those of ``extras``, with references to other extras resolved."""
    groups: dict[str, list[str]] = project["optional-dependencies"]  # type: ignore[assignment]
    found: dict[str, None] = dict.fromkeys(project["dependencies"])  # type: ignore[call-overload]
    waiting = list(extras)
    while waiting:
        for line in groups[waiting.pop()]:
            own = OWN.match(line)
            if own:
                waiting += own.group(1).split(",")
            else:
                found[line] = None
    return list(found)


if __name__ == "__main__":
    pyproject = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    sys.stdout.write("\n".join(requirements(pyproject["project"], sys.argv[1:])) + "\n")
