"""A device's pace, and the work before it: what estimated times are made from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from synerdiff.ledger import HeldJob, PoolLoad, WorkerReport
from synerdiff.protocol import Job


@dataclass(frozen=True, slots=True)
class Pace:
    """A device's pace: ``step_s[n - 1]`` is a slot's seconds with ``n`` images in the batch, ``decode_s`` a decode's,
    both for images of ``pixels``; the length of ``step_s`` is the batch cap.

    ``rows`` are an image's rows in a full step. A decode holds the batch up for ``hold_s``, which is less than it
    takes where it runs beside the UNet. ``store_s`` passes between an image's pixels and its place in the store.
    """

    step_s: tuple[float, ...]
    decode_s: float
    pixels: int
    rows: int = 2
    hold_s: float = 0.0
    store_s: float = 0.0

    @classmethod
    def of(cls, head: Mapping[str, str]) -> Self | None:
        """The pace in a plan's head; None where the plan is not made from a profile."""
        if not head.get("pace"):
            return None
        given = json.loads(head["pace"])
        decode_s = given["decode_s"]
        return cls(tuple(given["step_s"]), decode_s, given["pixels"], given.get("rows", 2), decode_s)

    @property
    def cap(self) -> int:
        """The most images in the batch."""
        return len(self.step_s)

    def slot_s(self, images: int) -> float:
        """Seconds of a slot with so many images in the batch."""
        return self.step_s[min(max(images, 1), self.cap) - 1]


@dataclass(frozen=True, slots=True)
class Image:
    """An image on its way: ``steps`` are left, counted as steps of an image of the pace's size."""

    job_id: str
    steps: float


@dataclass(frozen=True, slots=True)
class Usual:
    """What a job is taken for of which only the pool's counters tell: ``images`` of ``steps`` each."""

    images: float
    steps: float

    @classmethod
    def of(cls, held: Sequence[HeldJob], load: PoolLoad, pace: Pace, otherwise: float) -> Self:
        """As the open jobs cost on average, in images of as many steps as those that are held, or ``otherwise``."""
        cost = load.outstanding_cost / max(1, load.queued + load.running) / pace.pixels
        known = [job.steps * job.pixels / pace.pixels for job in held]
        steps = sum(known) / len(known) if known else otherwise
        return cls(max(1.0, cost / steps), steps)


def steps_of(job: Job, pace: Pace) -> float:
    """A job's steps, counted as steps of an image of the pace's size."""
    return job.steps * job.width * job.height / pace.pixels


def images_of(report: WorkerReport, pace: Pace) -> list[Image]:
    """The images that a worker holds, those in the batch first."""
    held = sorted(report.held, key=lambda job: job.waiting)
    return [Image(job.id, job.left * job.pixels / pace.pixels) for job in held for _ in range(job.images)]
