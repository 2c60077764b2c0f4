"""What a stack keeps in its directory: a lock, S3 keys, and the settings that lead to it."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from synerdiff.protocol.errors import SettingsError


def lock(directory: Path) -> IO[str]:
    """Take the directory for this process; closing the file, or dying, gives it back.

    Raises :class:`SettingsError` when another stack runs there or it cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = (directory / "lock").open("w")
    except OSError as error:
        raise SettingsError(f"--dir {directory} cannot be used: {error.strerror}", field="dir") from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        held.close()
        raise SettingsError(f"another stack runs in {directory}; stop it or give another --dir", field="dir") from None
    return held


def s3_keys(directory: Path) -> tuple[str, str]:
    """The access and secret key of the directory's S3, made once so that a restart keeps them."""
    path = directory / "s3-keys.json"
    if not path.exists():
        write_private(path, json.dumps([secrets.token_hex(10), secrets.token_hex(20)]))
    access_key, secret_key = json.loads(path.read_text())
    return access_key, secret_key


def scratch(directory: Path) -> Path:
    """Where the parts put their temporary files: a stack leaves none outside its directory."""
    found = directory / "tmp"
    found.mkdir(exist_ok=True)
    return found


def write_exports(path: Path, environment: Mapping[str, str]) -> None:
    """Write ``export`` lines that a shell can source."""
    write_private(path, "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()))


def write_private(path: Path, text: str) -> None:
    """Write a file that nobody but its owner can read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
