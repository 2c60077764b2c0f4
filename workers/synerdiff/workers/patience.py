"""How long an engine may be silent before it counts as hung: longer where slots are long, whatever one slot took."""

from __future__ import annotations

SLOW_SLOTS = 10  # a silence this many times as long as the slowest slot lately means that the device hangs
FORGET_SLOW = 0.98  # how fast "lately" forgets, a slot


class Patience:
    """At least ``hang_s`` seconds, and ten times the slowest slot lately.

    One slot that took far longer than any before it (the process was frozen for a while) counts at most double,
    or the next hang would be borne for ten times as long.
    """

    def __init__(self, hang_s: float) -> None:
        self._hang_s = hang_s
        self._slow_slot_s = 0.0

    def took(self, slot_s: float) -> None:
        """A slot took so long."""
        credible_s = max(2.0 * self._slow_slot_s, self._hang_s / SLOW_SLOTS)
        self._slow_slot_s = max(self._slow_slot_s * FORGET_SLOW, min(slot_s, credible_s))

    @property
    def silence_s(self) -> float:
        """The silence that is borne, in seconds."""
        return max(self._hang_s, SLOW_SLOTS * self._slow_slot_s)
