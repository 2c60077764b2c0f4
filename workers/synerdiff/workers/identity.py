"""The name of one incarnation of a worker."""

from __future__ import annotations

import os
import re
import secrets
import socket


def incarnation(given: str | None = None) -> str:
    """A name that is never used again: ``given``, or host and process, with six random hex digits behind."""
    stem = given or f"{socket.gethostname()}-{os.getpid()}"
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '-', stem)[:80]}-{secrets.token_hex(3)}"
