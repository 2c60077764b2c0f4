"""The one error that policy raises."""

from __future__ import annotations


class PolicyError(ValueError):
    """A profile, plan, table, trace or option is wrong; ``field`` names it and the message says why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
