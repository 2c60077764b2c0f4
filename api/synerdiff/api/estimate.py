"""How long a job will take yet: from what the plan says of a device's pace, and the load."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from synerdiff.ledger import PoolLoad
from synerdiff.protocol import Job


@dataclass(frozen=True, slots=True)
class Pace:
    """A device's pace: ``step_s[n - 1]`` is a slot's seconds with ``n`` images in the batch, ``decode_s`` a decode's,
    both for images of ``pixels``; the length of ``step_s`` is the batch cap."""

    step_s: tuple[float, ...]
    decode_s: float
    pixels: int

    @classmethod
    def of(cls, head: Mapping[str, str]) -> Self | None:
        """The pace in a plan's head; None where the plan is not made from a profile."""
        if not head.get("pace"):
            return None
        given = json.loads(head["pace"])
        return cls(tuple(given["step_s"]), given["decode_s"], given["pixels"])

    def times(self, factor: float) -> Pace:
        """The pace of a device on which everything takes ``factor`` times as long."""
        return Pace(tuple(seconds * factor for seconds in self.step_s), self.decode_s * factor, self.pixels)


def seconds_left(job: Job, position: int | None, step: int, load: PoolLoad, pace: Pace, devices: int) -> float:
    """Seconds until a job's images are done; ``position`` None: it runs and has done ``step`` steps.

    Jobs ahead are taken to cost what an open job costs on average, running ones to be half done. A device shares its
    batch among all it holds, up to the cap; past it jobs wait for places. Skipping is not foreseen.
    """
    size = job.width * job.height / pace.pixels
    mine = float(job.n)
    others = max(0, load.running - 1) / 2 if position is None else load.running / 2 + max(position, load.released - 1)
    mean_cost = load.outstanding_cost / max(1, load.queued + load.running)
    # Images like this job's own, on one device, that stand before it.
    ahead = others * mean_cost / (job.steps * job.width * job.height) / max(1, devices)
    cap = len(pace.step_s)
    together = min(float(cap), ahead + mine)
    step_s = pace.step_s[max(1, round(together)) - 1]
    own = (job.steps - step) * step_s + together * pace.decode_s
    full = pace.step_s[-1] / cap * job.steps + pace.decode_s  # seconds an image takes of a full device
    waiting = max(0.0, ahead + mine - cap) * full
    return (waiting + own) * size
