"""Figures of each fault: how soon what it hit was in work again, what was lost, what came twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from benchmarks.faults.history import History
from benchmarks.faults.invariants import End
from synerdiff.protocol import JobEvent
from synerdiff.protocol.result import JobView


@dataclass(slots=True)
class Injected:
    """One fault; ``at`` is in seconds since the epoch, ``hit`` are the jobs it struck, ``open`` all open ones."""

    name: str
    row: str
    at: float
    lasted_s: float = 0.0
    hit: Collection[str] = ()
    open: Collection[str] = ()
    error: str = ""
    _made: tuple[float, float] = field(default_factory=lambda: (time.time(), time.monotonic()))

    def over(self) -> None:
        """The injection was undone."""
        self.lasted_s = time.time() - self.at

    @property
    def _struck(self) -> float:
        """``at`` on the monotonic clock."""
        wall, monotonic = self._made
        return monotonic + self.at - wall

    def settled_s(self, history: History) -> float | None:
        """Seconds until every job that was open at the beginning was seen at its end."""
        ends = [history.jobs[job_id].final_at for job_id in self.open if job_id in history.jobs]
        return None if not ends or 0.0 in ends else max(0.0, max(ends) - self._struck)


def steady(events: Sequence[JobEvent]) -> bool:
    """Whether each event is stamped after the one before it: no other fault moved the broker's clock meanwhile."""
    return all(before.at <= after.at for before, after in pairwise(events))


def _next_at(events: Sequence[JobEvent], after: float, *kinds: str) -> float | None:
    """When the first event of these kinds, or the job's end, came after a time."""
    return next((event.at for event in events if event.at > after and (event.kind in kinds or event.final)), None)


def _after_s(which: Callable[[list[float]], float], times: Iterable[float | None], since: float) -> float | None:
    found = [at for at in times if at is not None]
    return round(which(found) - since, 1) if found else None


def _lost(view: JobView | None) -> bool:
    return view is None or not view.state.final


def row(injected: Injected, end: End) -> dict[str, Any]:
    """The figures of one fault, as the report shows them."""
    hit = [job_id for job_id in injected.hit if job_id in end.events]
    timed = [end.events[job_id] for job_id in hit if steady(end.events[job_id])]
    again = [_next_at(events, injected.at, "started") for events in timed]
    back = [_next_at(events, injected.at, "requeued", "started") for events in timed]
    touched = [job_id for job_id in {*injected.hit, *injected.open} if job_id in end.views]
    ends = {job_id: sum(event.final for event in end.events[job_id]) for job_id in touched}
    clock = injected.name == "clock_moved"  # event times jump with the clock
    return {
        "fault": injected.name,
        "row": injected.row,
        "lasted_s": round(injected.lasted_s, 1),
        "hit": len(hit),
        "taken_back_s": None if clock else _after_s(max, back, injected.at),
        "first_again_s": None if clock else _after_s(min, again, injected.at),
        "in_work_again_s": None if clock else _after_s(max, again, injected.at),
        "settled_s": None if (settled := injected.settled_s(end.history)) is None else round(settled, 1),
        "open": len(touched),
        "lost": sum(_lost(end.views[job_id]) for job_id in touched),
        "doubled": sum(count > 1 for count in ends.values()),
        "error": injected.error,
    }
