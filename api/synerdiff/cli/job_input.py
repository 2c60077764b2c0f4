"""From options and files to the fields of jobs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synerdiff.protocol import FieldError
from synerdiff.protocol.errors import InvalidJob, UnknownModel


def wrong(field: str, message: str) -> InvalidJob:
    """An error about one field."""
    return InvalidJob([FieldError(field=field, message=message)])


def read_jobs(path: Path, defaults: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The jobs of a file, one JSON object a line; ``defaults`` fill what a line leaves out or gives as null.

    Blank lines are passed over. Raises :class:`InvalidJob` naming the first line that is not an object.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise wrong("jobs", f"--jobs {path} cannot be read: {reason}") from None
    lines = text.split("\n")  # splitlines would cut a line at U+2028, which a prompt may hold
    jobs = [
        {**defaults, **_object(line, f"{path}:{number}")} for number, line in enumerate(lines, start=1) if line.strip()
    ]
    if not jobs:
        raise wrong("jobs", f"--jobs {path} holds no job; it needs one JSON object a line")
    return jobs


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise wrong("jobs", f"{where} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise wrong("jobs", f"{where} must be a JSON object with a job's fields; got {line.strip()[:40]}")
    return {key: value for key, value in found.items() if value is not None}


def read_metadata(pairs: Sequence[str]) -> dict[str, str] | None:
    """``key=value`` options as a mapping, or None when there are none. Raises :class:`InvalidJob`."""
    for pair in pairs:
        if "=" not in pair:
            raise wrong("metadata", f"metadata must be given as key=value; got {pair[:40]!r}")
    return dict(pair.split("=", 1) for pair in pairs) or None


def by_line(error: InvalidJob, path: Path) -> InvalidJob:
    """The same error with the file in front: its sentences name jobs by their place in it, from 0."""
    errors = [FieldError(field=item.field, message=f"{path}: {item.message}") for item in error.errors]
    return (UnknownModel if isinstance(error, UnknownModel) else InvalidJob)(errors)
