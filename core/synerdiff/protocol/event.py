"""Progress events: what a job's Redis stream carries."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

EventKind = Literal[
    "queued",
    "started",
    "step",
    "preview",
    "image",
    "requeued",
    "succeeded",
    "failed",
    "cancelled",
    "expired",
    "dead",
    "other",
]
KINDS: frozenset[str] = frozenset(get_args(EventKind))
FINAL_KINDS = frozenset({"succeeded", "failed", "cancelled", "expired", "dead"})


class JobEvent(BaseModel):
    """One thing that happened to a job. ``id`` is the stream's id, ``at`` seconds since the epoch.

    ``step`` of ``steps`` counts denoising steps of the slowest image; ``image`` is the index of an image
    that is stored. A ``preview`` has a small ``data:`` URL in ``data`` for each unfinished image, by its index.
    ``other`` is a kind that only a newer version knows.
    """

    model_config = ConfigDict(extra="ignore")

    id: str = ""
    kind: EventKind
    at: float = 0.0
    step: int = 0
    steps: int = 0
    image: int | None = None
    message: str = ""
    data: dict[str, str] = Field(default_factory=dict)

    @property
    def final(self) -> bool:
        """Whether this is the last event of its job."""
        return self.kind in FINAL_KINDS
