"""Log processors that keep what producers send from showing up in, or forging, a log line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from structlog.typing import EventDict

PRIVATE = frozenset({"prompt", "negative_prompt", "secret_key", "access_key", "password", "api_keys"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def _escape(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode()


def one_line(text: str) -> str:
    """``text`` with every control character escaped: it can neither end a line nor colour a terminal."""
    return _CONTROL.sub(_escape, text)


def _hide(key: str, value: Any) -> Any:
    if key in PRIVATE:
        return f"[{len(str(value))} characters]"
    if isinstance(value, Mapping):
        return {inner: _hide(str(inner), item) for inner, item in value.items()}
    return value


def hide_private(_: Any, __: str, event: EventDict) -> EventDict:
    """Replace the values of private fields, nested ones too, by their length."""
    return {key: _hide(key, value) for key, value in event.items()}


def escape_control(_: Any, __: str, event: EventDict) -> EventDict:
    """Keep every value on one line; a traceback keeps its lines, each behind a bar."""
    escaped: EventDict = {}
    for key, value in event.items():
        if key == "exception" and isinstance(value, str):
            escaped[key] = "\n".join(f"  | {one_line(line)}" for line in value.splitlines())
        else:
            escaped[one_line(key)] = one_line(value) if isinstance(value, str) else value
    return escaped
