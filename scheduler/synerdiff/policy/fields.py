"""Reading JSON objects strictly: every wrong field becomes a :class:`PolicyError` that names it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from synerdiff.policy.errors import PolicyError

MOST = 2**31 - 1  # more is no count of anything here


def load_object(text: str | bytes, what: str) -> dict[str, Any]:
    """Parse one JSON object; ``what`` names it in the error."""
    try:
        found = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise PolicyError(what, f"is not JSON ({error})") from None
    return mapping(found, what)


def mapping(value: Any, field: str) -> dict[str, Any]:
    """``value`` as an object with string keys."""
    if not isinstance(value, Mapping):
        raise PolicyError(field, f"must be an object; got {type(value).__name__}")
    return dict(value)


def only(given: Mapping[str, Any], known: Sequence[str], required: Sequence[str], prefix: str = "") -> None:
    """Refuse unknown and missing fields."""
    for name in given:
        if name not in known:
            raise PolicyError(f"{prefix}{name}", f"is not a field here; the fields are {', '.join(known)}")
    for name in required:
        if name not in given:
            raise PolicyError(f"{prefix}{name}", "is required and was not given")


def text(value: Any, field: str) -> str:
    """``value`` as a string."""
    if not isinstance(value, str):
        raise PolicyError(field, f"must be text; got {value!r:.40}")
    return value


def whole(value: Any, field: str, *, at_least: int = 0, at_most: int = MOST) -> int:
    """``value`` as an integer of at least ``at_least`` and at most ``at_most``."""
    if isinstance(value, bool) or not isinstance(value, int) or not at_least <= value <= at_most:
        limit = f"of at least {at_least}" if at_most == MOST else f"from {at_least} to {at_most}"
        raise PolicyError(field, f"must be a whole number {limit}; got {value!r:.40}")
    return value


def number(value: Any, field: str, *, above: float = -math.inf, at_least: float = -math.inf) -> float:
    """``value`` as a finite number over ``above`` and not under ``at_least``."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and _finite(value)
    if not good or not value > above or not value >= at_least:
        limit = f"greater than {above:g}" if above > -math.inf else f"at least {at_least:g}"
        limit = "a finite number" if above == at_least == -math.inf else f"a number {limit}"
        raise PolicyError(field, f"must be {limit}; got {value!r:.40}")
    return float(value)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def items(value: Any, field: str) -> list[Any]:
    """``value`` as a list."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise PolicyError(field, f"must be a list; got {value!r:.40}")
    return list(value)


def numbers(value: Any, field: str, *, above: float = 0.0) -> tuple[float, ...]:
    """``value`` as a list of finite numbers over ``above``."""
    return tuple(number(entry, f"{field}[{i}]", above=above) for i, entry in enumerate(items(value, field)))


def ascending(values: Sequence[float], field: str) -> None:
    """Refuse an empty list or one that does not ascend."""
    if not values:
        raise PolicyError(field, "must not be empty")
    for i, (before, after) in enumerate(pairwise(values)):
        if after <= before:
            raise PolicyError(f"{field}[{i + 1}]", f"must be greater than {before:g}; got {after:g}")
