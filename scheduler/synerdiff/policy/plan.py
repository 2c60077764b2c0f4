"""The plan a worker follows: a small value with a version, and the table whose look-up decides each slot."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from synerdiff.policy.errors import PolicyError

Quality = Literal["exact", "balanced", "fast"]


@dataclass(frozen=True, slots=True)
class Action:
    """What a slot runs: the UNet call or not, and ``chunks`` of decoding beside it (or alone) in one granularity.

    ``chunks`` are counted in the table's unit, ``chunks_per_decode`` to a decode.
    """

    run_unet: bool
    granularity: str
    chunks: int


@dataclass(frozen=True, slots=True)
class PlanTable:
    """The action for every number of active samples and of waiting chunks.

    The three arrays have the shape (max_active + 1, max_waiting * chunks_per_decode + 1): whether the UNet runs
    (uint8), how many chunks run (uint16) and in which of ``granularities`` (uint8). ``bound_slots`` is the age
    bound: no image waits for more UNet calls than this, whatever arrives behind it.
    """

    profile_id: str
    rows_per_sample: int
    chunks_per_decode: int
    granularities: tuple[str, ...]
    unet: NDArray[np.uint8]
    chunks: NDArray[np.uint16]
    granularity: NDArray[np.uint8]
    bound_slots: int
    table_hash: str = ""

    @property
    def max_active(self) -> int:
        """The most active samples the table knows; more are treated alike."""
        return int(self.unet.shape[0]) - 1

    @property
    def max_waiting(self) -> int:
        """The most waiting images the table knows; more are treated alike."""
        return (int(self.unet.shape[1]) - 1) // self.chunks_per_decode

    def action(self, active: int, waiting_chunks: int) -> Action:
        """The slot for ``active`` samples and ``waiting_chunks`` of decoding still to do."""
        row, column = self.clamp(active, waiting_chunks)
        return Action(
            bool(self.unet[row, column]),
            self.granularities[self.granularity[row, column]],
            int(self.chunks[row, column]),
        )

    def action_for_rows(self, rows: int, waiting_chunks: int) -> Action:
        """The same, for a UNet call of ``rows`` rows: skipping makes it cheaper than its samples say."""
        return self.action(math.ceil(rows / self.rows_per_sample), waiting_chunks)

    def clamp(self, active: int, waiting_chunks: int) -> tuple[int, int]:
        """The table's nearest state: the head image keeps its position, images past the last are left out."""
        row, column, size = min(active, self.max_active), waiting_chunks, int(self.unet.shape[1])
        if column >= size:
            behind = -(column - size + 1) // self.chunks_per_decode
            column += behind * self.chunks_per_decode
        return row, column

    def chunks_left(self, share_left: float) -> int:
        """What remains of a decode, as a share, in the table's chunks (at least one)."""
        return max(1, math.ceil(share_left * self.chunks_per_decode - 1e-9))


@dataclass(frozen=True, slots=True)
class Plan:
    """The head of a concurrency plan: small enough to be written every second.

    ``theta`` is the throughput threshold the ``price`` was chosen for (``None`` for both under ``theta: auto``,
    where each slot is priced by the jobs it delays). At most ``batch_cap`` samples share a UNet call. A
    ``balanced`` sample may skip while more than ``skip_above`` jobs are in the system. ``reprofile`` asks the
    worker for a new profile, because its slots take other times than this one predicts.
    """

    version: int
    profile_id: str
    batch_cap: int
    skip_above: int
    table_hash: str
    theta: float | None = None
    price: float | None = None
    reprofile: bool = False

    def __post_init__(self) -> None:
        check_theta(self.theta)
        if self.batch_cap < 1:
            raise PolicyError("batch_cap", f"must be at least 1; got {self.batch_cap}")
        if self.skip_above < 0:
            raise PolicyError("skip_above", f"must be at least 0; got {self.skip_above}")


def check_theta(theta: float | None) -> None:
    """Refuse a throughput threshold outside (0, 1]."""
    if theta is not None and not 0.0 < theta <= 1.0:
        raise PolicyError("theta", f"must be greater than 0 and at most 1; got {theta!r}")


@dataclass(frozen=True, slots=True)
class PlanView:
    """A plan with its table: all that an engine asks, slot by slot."""

    plan: Plan
    table: PlanTable

    @property
    def version(self) -> int:
        """The plan's version; 0 is the built-in default."""
        return self.plan.version

    @property
    def batch_cap(self) -> int:
        """The most samples in a UNet call."""
        return self.plan.batch_cap

    def action(self, active: int, waiting_chunks: int) -> Action:
        """What the next slot runs (see :meth:`PlanTable.action`)."""
        return self.table.action(active, waiting_chunks)

    def allows_skip(self, quality: str, jobs_in_system: int) -> bool:
        """The skip allowance: whether an eligible sample of this quality class does skip its unconditional pass."""
        return allows_skip(quality, jobs_in_system, self.plan.skip_above)


def allows_skip(quality: str, jobs_in_system: int, skip_above: int) -> bool:
    """``fast`` skips whenever it is eligible, ``balanced`` while more than ``skip_above`` jobs are in the system,
    ``exact`` never."""
    return quality == "fast" or (quality == "balanced" and jobs_in_system > skip_above)


def default_plan(
    capacity: int, *, rows_per_sample: int = 2, granularity: str = "whole", skip_above: int = 0
) -> PlanView:
    """The plan that needs no profile: every decode alone and at once, the batch capped by ``capacity``.

    ``balanced`` skips from the first job on: fewer rows never make a call longer.
    """
    table = PlanTable(
        profile_id="",
        rows_per_sample=rows_per_sample,
        chunks_per_decode=1,
        granularities=(granularity,),
        unet=np.array([[0, 0], [1, 0]], dtype=np.uint8),
        chunks=np.array([[0, 1], [0, 1]], dtype=np.uint16),
        granularity=np.zeros((2, 2), dtype=np.uint8),
        bound_slots=0,
        table_hash="default",
    )
    plan = Plan(0, "", batch_cap=capacity, skip_above=skip_above, table_hash="default")
    return PlanView(plan, table)
