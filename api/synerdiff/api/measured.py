"""The pace that a pool's devices keep lately: its profile's, corrected by the slots that workers report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from synerdiff.api.estimate import Pace
from synerdiff.ledger import WorkerReport
from synerdiff.ledger.values import SlotSpan

LATELY_S = 15.0  # slots that ended so long ago count for 1/e
ENOUGH_S = 0.2  # of slots, before they are believed
LEAST, MOST = 0.1, 100.0


class Measured:
    """What slots took and should have taken, of all workers of a pool; older ones fade.

    The profile's shape is kept (what ``n`` images cost beside one), its scale is measured: so it holds on a machine
    that is busy with other things, with samples that skip, and where the profile was measured in better days.
    """

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}
        self._took_s = self._should_s = self._held_up_s = self._vae_s = 0.0
        self._at = -math.inf

    def pace(self, pace: Pace, reports: Sequence[WorkerReport]) -> Pace:
        """The pace as it is now."""
        names = {report.name for report in reports}
        self._seen = {name: seen for name, seen in self._seen.items() if name in names}
        for report in reports:
            new = [span for span in report.slots if span[0] > self._seen.get(report.name, 0.0)]
            for span in new:
                self._take(span, pace)
            if new:
                self._seen[report.name] = new[-1][0]
        stored = [report.store_s for report in reports if report.store_s > 0.0]
        store_s = sum(stored) / len(stored) if stored else 0.0
        factor = self._took_s / self._should_s if self._took_s >= ENOUGH_S else 1.0
        factor = min(MOST, max(LEAST, factor))
        decode_s = pace.decode_s * factor
        held_up = min(1.0, self._held_up_s / self._vae_s) if self._vae_s >= ENOUGH_S / 4 else 1.0
        step_s = tuple(seconds * factor for seconds in pace.step_s)
        return replace(pace, step_s=step_s, decode_s=decode_s, hold_s=decode_s * held_up, store_s=store_s)

    def _take(self, span: SlotSpan, pace: Pace) -> None:
        ended_at, total_s, unet_s, vae_s, rows, chunks, skipped = span
        self._fade(ended_at)
        self._vae_s += vae_s
        self._held_up_s += min(max(0.0, total_s - unet_s), vae_s)
        if rows:
            self._took_s += unet_s if chunks else total_s
            self._should_s += pace.slot_s(round((rows + skipped) / pace.rows))

    def _fade(self, ended_at: float) -> None:
        if ended_at <= self._at:
            return
        left = math.exp((self._at - ended_at) / LATELY_S) if self._at > -math.inf else 1.0
        self._took_s, self._should_s = self._took_s * left, self._should_s * left
        self._held_up_s, self._vae_s = self._held_up_s * left, self._vae_s * left
        self._at = ended_at
