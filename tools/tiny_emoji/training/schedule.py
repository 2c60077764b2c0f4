"""The learning rate by samples seen, so that a slow machine comes to the same result as a fast one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Schedule:
    """Warm-up, a constant rate, then a linear decay to ``floor`` over the last ``decay`` of the leg.

    A leg runs from ``start`` to ``end`` samples; a run that is continued past its end starts another leg.
    """

    start: int
    end: int
    warm: int
    decay: float = 0.6
    floor: float = 0.03

    def progress(self, seen: int) -> float:
        """How much of the leg is done, 0 to 1."""
        return min(1.0, max(0.0, (seen - self.start) / max(1, self.end - self.start)))

    def factor(self, seen: int) -> float:
        """What to multiply the base rate with at the step that begins at ``seen`` samples."""
        warm = min(1.0, (seen - self.start + 1) / max(1, self.warm))
        return warm * max(self.floor, min(1.0, (1.0 - self.progress(seen)) / self.decay))

    def as_dict(self) -> dict[str, Any]:
        """The form in which a checkpoint keeps it."""
        return asdict(self)
