"""What was accepted, and what was seen of it while the bench ran; the producers' memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from synerdiff.ledger import Ledger
from synerdiff.protocol import JobState, JobView
from synerdiff.protocol.errors import LedgerUnavailable

LOOK_S = 0.25
SUCCESS = frozenset({JobState.SUCCEEDED})


@dataclass(slots=True)
class Accepted:
    """One accepted job: when (monotonic seconds), whose, and the ends that are right for it."""

    id: str
    tenant: str
    at: float
    right: Collection[JobState] = SUCCESS
    final: JobView | None = None
    final_at: float = 0.0


@dataclass(slots=True)
class History:
    """Safe to use from several threads. ``unsure`` are submits that never got an answer."""

    jobs: dict[str, Accepted] = field(default_factory=dict)
    unsure: set[str] = field(default_factory=set)
    refused: int = 0
    changed: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def accept(self, job_id: str, tenant: str, right: Collection[JobState] = SUCCESS) -> None:
        """A submit was answered."""
        with self._lock:
            self.unsure.discard(job_id)
            self.jobs[job_id] = Accepted(job_id, tenant, time.monotonic(), right)

    def allow(self, job_id: str, *ends: JobState) -> None:
        """From now on these ends are right too."""
        with self._lock:
            self.jobs[job_id].right = frozenset({*self.jobs[job_id].right, *ends})

    def open(self) -> list[str]:
        """The jobs not seen at their end."""
        with self._lock:
            return [job.id for job in self.jobs.values() if job.final is None]

    def see(self, view: JobView) -> None:
        """Note a job's end; a second, different one is remembered as a change."""
        if not view.state.final:
            return
        with self._lock:
            job = self.jobs[view.id]
            if job.final is None:
                job.final, job.final_at = view, time.monotonic()
            elif (job.final.state, job.final.images) != (view.state, view.images):
                self.changed.append(f"{view.id}: {job.final.state} became {view.state}")


class Watcher:
    """A thread that looks at every open job, as its producer would."""

    def __init__(self, history: History, ledger: Ledger) -> None:
        self._history, self._ledger = history, ledger
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(30)

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_S):
            try:
                for view in self._ledger.get_many(self._history.open()):
                    if view is not None:
                        self._history.see(view)
            except LedgerUnavailable:
                continue
