"""Producers: a closed loop that keeps a number of jobs open, and submits the way a careful client does."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Collection
from typing import Any

from ulid import ULID

from benchmarks.faults.history import SUCCESS, History
from synerdiff.client import Client
from synerdiff.protocol import JobState
from synerdiff.protocol.errors import LedgerUnavailable, Overloaded
from synerdiff.settings import Settings

TENANTS = ("ada", "ben", "cyd")
PROMPTS = ("a red apple", "a blue car", "a green tree", "a yellow star", "a white cat", "a black dog")
RETRY_S = 1.0


class Load:
    """Keeps ``open_jobs`` jobs open from a thread of its own, of 6 to 16 steps where ``steps`` is 0."""

    def __init__(
        self, settings: Settings, history: History, rng: random.Random, open_jobs: int, steps: int = 0
    ) -> None:
        self.client = Client(settings)
        self.open_jobs = open_jobs
        self._steps = steps
        self._history = history
        self._rng = rng
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._submit_on, name="load", daemon=True)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.client.close()

    def stop(self) -> None:
        """Submit nothing more."""
        self._stopping.set()
        self._thread.join(60)

    def fields(self, **given: Any) -> dict[str, Any]:
        """A job of the mix."""
        rng = self._rng
        return {
            "prompt": rng.choice(PROMPTS),
            "steps": self._steps or rng.randint(6, 16),
            "seed": rng.randrange(2**31),
            "n": rng.choice((1, 1, 2)),
            "sampler": rng.choice(("ddim", "euler", "euler_a", "dpmpp_2m")),
            "quality": rng.choice(("exact", "balanced", "fast")),
            "format": rng.choice(("png", "webp", "jpeg")),
            "priority": rng.choice((5, 5, 5, 7)),
            "tenant": rng.choice(TENANTS),
            **given,
        }

    def submit(self, *, right: Collection[JobState] = SUCCESS, **given: Any) -> str | None:
        """Submit one job, again and again under the same id while no answer comes; None if it was refused."""
        job_id, fields = str(ULID()), self.fields(**given)
        while not self._stopping.is_set():
            try:
                self.client.submit(**{**fields, "id": job_id})
            except Overloaded:
                # Refused, so nothing was stored; unless an earlier try was, and its answer lost.
                self._history.refused += 1
                if job_id not in self._history.unsure:
                    return None
                self._stopping.wait(RETRY_S)
            except LedgerUnavailable:
                self._history.unsure.add(job_id)
                self._stopping.wait(RETRY_S)
            else:
                self._history.accept(job_id, fields["tenant"], right)
                return job_id
        return None

    def _submit_on(self) -> None:
        while not self._stopping.is_set():
            if len(self._history.open()) >= self.open_jobs or self.submit() is None:
                time.sleep(0.1)
