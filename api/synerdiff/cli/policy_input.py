"""What ``simulate`` and ``plan`` read: profiles, traces, theta, recorded plans; wrong ones become one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synerdiff.policy import PlanView, PolicyError, Profile, parse_profile, plan_view
from synerdiff.policy.shipped import shipped_profile
from synerdiff.policy.simulator import SimJob, parse_trace
from synerdiff.policy.steering import ThetaMode, check_mode
from synerdiff.protocol.errors import PlanError, TraceError


@contextmanager
def told(where: str = "") -> Iterator[None]:
    """Turn a :class:`PolicyError` into the sentence that the command prints."""
    try:
        yield
    except PolicyError as error:
        raise PlanError(f"{where}{error}", field=error.field) from None


def _text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"{what} {path} cannot be read ({error})", field=what) from None


def read_profile(name: str) -> Profile:
    """A profile from a file, or a shipped one by its name."""
    path = Path(name)
    if not path.is_file():
        with told():
            return shipped_profile(name)
    with told(f"{path}: "):
        return parse_profile(_text(path, "profile"))


def read_trace(path: Path) -> list[SimJob]:
    """The jobs of a trace file; raises :class:`TraceError` naming line and field."""
    try:
        return parse_trace(_text(path, "trace").split("\n"))
    except PolicyError as error:
        raise TraceError(f"{path}: {error}", field=error.field) from None


def read_theta(given: str) -> ThetaMode:
    """A threshold in (0, 1], or ``auto``, ``controller`` or ``queue``."""
    with told():
        try:
            return check_mode(float(given))
        except PolicyError:
            raise
        except ValueError:
            return check_mode(given)  # type: ignore[arg-type]


def read_plan(path: Path) -> PlanView:
    """A plan recorded by ``plan show --json``."""
    text = _text(path, "plan")
    with told(f"{path}: "):
        try:
            recorded = json.loads(text)
            head, table = recorded["head"], recorded["table"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise PolicyError("plan", f"must be an object with head and table ({error})") from None
        if not isinstance(table, str) or not isinstance(head, dict):
            raise PolicyError("plan", "must be an object with head and table")
        return plan_view({str(name): str(value) for name, value in head.items()}, table)
