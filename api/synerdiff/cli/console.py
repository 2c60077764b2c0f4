"""What a person sees: results on standard output, all else on standard error."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from synerdiff.protocol.errors import SynerDiffError

FAILED = 1
BAD_INPUT = 2

# Prompts are printed too, and what they have in brackets or between colons is theirs.
err = Console(stderr=True, highlight=False, markup=False, emoji=False)
out = Console(highlight=False, markup=False, emoji=False)


def print_json(document: Any) -> None:
    """Print one JSON document on one line of standard output, at once."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def print_error(message: str) -> None:
    """Print an error as one red sentence, however long its line."""
    err.print(f"error: {message}", style="bold red", soft_wrap=True)


def exit_code(error: SynerDiffError) -> int:
    """2 when what was given is wrong, 1 when it could not be done."""
    return BAD_INPUT if error.http_status == 422 or error.code == "bad_settings" else FAILED
