"""A device's near future, in virtual time: when the jobs before it will be made.

Every image in the batch makes one step a slot. A slot with ``n`` images takes what the pace says of ``n``; an image
that leaves is decoded, which holds the others up; the next in the queue takes its place, and images go on arriving as
they did lately.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

from synerdiff.api.estimate import Image, Pace

CROWD = 256  # images that arrive and find no place; more make no difference to those before them
SAME = 1e-6  # slots


@dataclass(frozen=True, slots=True)
class Coming:
    """Images that join the queue: ``queued`` ones after ``after_s`` seconds, then one like ``usual`` each
    ``every_s``."""

    queued: Sequence[Image]
    after_s: float
    usual: Image
    every_s: float = math.inf


def made_in(held: Sequence[Image], coming: Coming, pace: Pace) -> dict[str, float]:
    """Seconds until the last image of each job is stored, by id, of a device that holds ``held`` images, those in its
    batch first."""
    rest_s = max(0.0, pace.decode_s - pace.hold_s) + pace.store_s
    return {job_id: seconds + rest_s for job_id, seconds in _Device(held, coming, pace).run().items()}


class _Device:
    def __init__(self, held: Sequence[Image], coming: Coming, pace: Pace) -> None:
        self._pace = pace
        self._waiting = deque(held)
        self._coming = coming
        self._named = Counter(image.job_id for image in (*held, *coming.queued) if image.job_id)
        self._batch: list[tuple[float, str]] = []  # by the slot after which an image leaves
        self._slot = self._now = 0.0
        self._arrival_s = coming.after_s if coming.queued else coming.after_s + coming.every_s
        self._queued = list(coming.queued)
        self._made: dict[str, float] = {}

    def run(self) -> dict[str, float]:
        """Step until every job known by its id has left."""
        while self._named:
            self._admit()
            if not self._batch:
                self._now = self._arrival_s
            else:
                self._step()
            self._arrive()
        return self._made

    def _admit(self) -> None:
        while self._waiting and len(self._batch) < self._pace.cap:
            image = self._waiting.popleft()
            heapq.heappush(self._batch, (self._slot + max(image.steps, SAME), image.job_id))

    def _step(self) -> None:
        """Go on to the next arrival that finds a place, or until images leave and are decoded."""
        slot_s = self._pace.slot_s(len(self._batch))
        leaving = self._batch[0][0]
        ends_s = self._now + (leaving - self._slot) * slot_s
        if self._now < self._arrival_s < ends_s and len(self._batch) < self._pace.cap:
            self._slot += (self._arrival_s - self._now) / slot_s
            self._now = self._arrival_s
            return
        left = []
        while self._batch and self._batch[0][0] <= leaving + SAME:
            left.append(heapq.heappop(self._batch)[1])
        self._slot, self._now = leaving, ends_s + len(left) * self._pace.hold_s
        for job_id in left:
            self._leave(job_id)

    def _leave(self, job_id: str) -> None:
        if job_id in self._named:
            self._made[job_id] = self._now
            self._named[job_id] -= 1
            if not self._named[job_id]:
                del self._named[job_id]

    def _arrive(self) -> None:
        while self._arrival_s <= self._now and len(self._waiting) < CROWD:
            self._waiting += self._queued or [self._coming.usual]
            self._queued = []
            self._arrival_s += self._coming.every_s
