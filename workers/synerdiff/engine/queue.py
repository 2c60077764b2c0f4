"""The admission queue: requests whose images have not all joined the batch yet."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass

from synerdiff.engine.schedule import Table
from synerdiff.engine.shape import Shape
from synerdiff.engine.text import Conditioning
from synerdiff.engine.types import Request


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """What is known of a request that the model can do: its sampler's table and its group."""

    table: Table
    shape: Shape


@dataclass(slots=True, eq=False)
class Pending:
    """A request of which images ``next_index`` to ``n - 1`` still wait; texts are encoded once for all of them."""

    request: Request
    order: int
    next_index: int = 0
    checked: Checked | None = None
    conditioning: Conditioning | None = None
    encode_s: float = 0.0

    @property
    def left(self) -> int:
        """Images that have not joined yet."""
        return self.request.n - self.next_index


class AdmissionQueue:
    """Requests by priority (9 first), first come first served within one."""

    def __init__(self) -> None:
        self._pending: list[Pending] = []
        self._arrivals = 0

    def __len__(self) -> int:
        return sum(pending.left for pending in self._pending)

    def __iter__(self) -> Iterator[Pending]:
        return iter(tuple(self._pending))

    def add(self, request: Request) -> None:
        """Queue a request behind those of its priority."""
        insort(self._pending, Pending(request, self._arrivals), key=lambda item: (-item.request.priority, item.order))
        self._arrivals += 1

    def remove(self, job_id: str) -> None:
        """Forget what still waits of a job."""
        self._pending = [pending for pending in self._pending if pending.request.job_id != job_id]

    def drop_empty(self) -> None:
        """Forget requests of which every image has joined."""
        self._pending = [pending for pending in self._pending if pending.left]
