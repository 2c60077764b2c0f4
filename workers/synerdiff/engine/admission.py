"""Admission: which waiting image joins the batch next, checked and encoded when its turn comes."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field

from synerdiff.engine.model import LoadedModel
from synerdiff.engine.schedule import Table
from synerdiff.engine.text import Conditioning
from synerdiff.engine.types import Request
from synerdiff.protocol.errors import FieldError, InvalidJob


@dataclass(slots=True, eq=False)
class Pending:
    """A request of which images ``next_index`` to ``n - 1`` still wait; texts are encoded once for all of them."""

    request: Request
    order: int
    next_index: int = 0
    table: Table | None = None
    chunks: int = 0
    conditioning: Conditioning | None = None
    encode_s: float = 0.0
    announced: bool = field(default=False)

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


def check(request: Request, model: LoadedModel) -> None:
    """Refuse what this model cannot do. Raises :class:`InvalidJob` naming field, limit and value."""
    multiple, samplers = model.entry.latent_multiple, model.entry.samplers
    errors = [
        FieldError(field=name, message=f"{name} must be a positive multiple of {multiple}; got {side}")
        for name, side in (("width", request.width), ("height", request.height))
        if side <= 0 or side % multiple
    ]
    errors += [
        FieldError(field=name, message=f"{name} must be at least 1; got {count}")
        for name, count in (("steps", request.steps), ("n", request.n))
        if count < 1
    ]
    if request.sampler not in samplers:
        message = f"sampler must be one of {', '.join(samplers)} for {model.name}; got {request.sampler!r}"
        errors.append(FieldError(field="sampler", message=message))
    if errors:
        raise InvalidJob(errors)
