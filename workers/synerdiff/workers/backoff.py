"""How long to wait between attempts."""

from __future__ import annotations

import random
from collections.abc import Iterator


def pauses(*, first_s: float, most_s: float) -> Iterator[float]:
    """Endless pauses that double from ``first_s`` to ``most_s`` seconds, each cut by up to a half at random."""
    pause_s = first_s
    while True:
        yield pause_s * random.uniform(0.5, 1.0)
        pause_s = min(most_s, 2 * pause_s)
