"""An engine without a model, for tests of everything around it. Runs in the real engine process."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import numpy as np

from synerdiff.engine.types import (
    Admitted,
    Event,
    ImageReady,
    ImageReceipt,
    ImageTimings,
    JobFailed,
    Parted,
    Previewed,
    Request,
    SlotReport,
    Stepped,
)
from synerdiff.protocol import ErrorInfo, ModelEntry
from synerdiff.protocol.errors import ModelError
from synerdiff.workers.messages import EngineSpec, Profiled, Ready, SetPlan

FACTORY = "tests.worker_fakes:build"


class FakeEngine:
    """Steps every admitted job once a slot; prompts that name a fault bring it about at the job's second step."""

    def __init__(self, ready: Ready) -> None:
        self.ready = ready
        self._jobs: dict[str, tuple[Request, int]] = {}
        self._chores = 0

    @property
    def idle(self) -> bool:
        return not self._jobs

    def admit(self, request: Request, kept: bytes | None) -> None:
        self._jobs.setdefault(request.job_id, (request, -1))

    def cancel(self, job_id: str) -> None:
        self._jobs.pop(job_id, None)

    def part(self, job_id: str) -> Parted:
        self.cancel(job_id)
        return Parted(job_id, None)

    def follow(self, plan: SetPlan) -> None:
        if plan.head["version"] == "bad":
            raise ValueError("version: must be a whole number")
        self._chores = 3 if plan.head.get("reprofile") == "1" else 0

    @property
    def has_chore(self) -> bool:
        return self._chores > 0

    def do_chore(self) -> Profiled | None:
        self._chores -= 1
        return None if self._chores else Profiled("fake", "measured again")

    def step(self) -> list[Event]:
        events: list[Event] = []
        rows = len(self._jobs)
        for job_id, (request, step) in list(self._jobs.items()):
            if step == 1:
                FAULTS.get(request.prompt.split()[0], lambda: None)()
            events += self._advance(job_id, request, step)
        time.sleep(0.002)
        return [*events, SlotReport(0.0, 0.002, rows, 0, rows, 0, 0.002, 0.0)]

    def _advance(self, job_id: str, request: Request, step: int) -> list[Event]:
        if request.prompt.startswith("fails") and step == 1:
            del self._jobs[job_id]
            return [JobFailed(job_id, ErrorInfo(code="non_finite_image", message="the image has NaN values"))]
        if step < 0:
            self._jobs[job_id] = (request, 0)
            return [Admitted(job_id, 0.001)]
        if step < request.steps:
            self._jobs[job_id] = (request, step + 1)
            pictures = {index: np.full((4, 4, 3), step % 256, dtype=np.uint8) for index in range(request.n)}
            previews = [Previewed(job_id, step + 1, request.steps, pictures)] if step % 100 == 50 else []
            return [Stepped(job_id, step + 1, request.steps), *previews]
        del self._jobs[job_id]
        return [image(request, index) for index in range(request.n)]


def image(request: Request, index: int) -> ImageReady:
    """The image of a request: one colour, made from its seed."""
    pixels = np.full((request.height, request.width, 3), (request.seed + index) % 256, dtype=np.uint8)
    receipt = ImageReceipt(2 * request.steps, 0, 2.0, (), 1, 0)
    return ImageReady(request.job_id, index, request.seed + index, pixels, ImageTimings(0.1, 0.2, 0.3, 0.4), receipt)


def _segfault() -> None:
    os.kill(os.getpid(), 11)


def _hang() -> None:
    while True:
        time.sleep(60)


def _raise(error: type[BaseException]) -> Callable[[], None]:
    def fault() -> None:
        raise error("on purpose")

    return fault


def _half_a_message() -> None:
    """As one whose process is stopped while it sends: the length of a message, its first byte, and no more."""
    os.write(int(sys.argv[1]), (1000).to_bytes(4, "big") + b"x")
    _hang()


FAULTS: dict[str, Callable[[], None]] = {
    "segfault": _segfault,
    "hang": _hang,
    "half": _half_a_message,
    "memory": _raise(MemoryError),
    "exit": _raise(SystemExit),
    "interrupt": _raise(KeyboardInterrupt),
}


def build(spec: EngineSpec) -> FakeEngine:
    """The factory that an engine process is told to use; some model names fail to load."""
    if spec.model == "missing":
        raise ModelError("model_path /nowhere does not exist")
    if spec.model == "slow":
        time.sleep(600)
    if spec.model == "crashes":
        sys.stdout.flush()
        os._exit(3)
    entry = ModelEntry(name=spec.model, pool=spec.model, default_width=64, default_height=64)
    return FakeEngine(Ready(entry=entry, device="cpu", profile=Profiled("fake", "{}"), versions={"fake": "1"}))
