"""A job's spans in a worker: its wait before the claim, its hold, phases and upload, and the slots it shares."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from synerdiff.engine.types import Event, ImageReady, SlotReport, Stepped
from synerdiff.ledger import Claim
from synerdiff.telemetry.tracing import Off
from synerdiff.workers.runs import Run

PHASES = ("encode", "denoise", "decode_wait", "decode")


class Traces:
    """Turns what a worker sees into spans; does nothing while ``tracing`` is off."""

    def __init__(self, tracing: Off | None = None) -> None:
        self._tracing = tracing or Off()

    @contextmanager
    def job(self, run: Run, claim: Claim, worker: str) -> Iterator[None]:
        """The span of a held job, below its submission; what follows hangs on ``run.traceparent``."""
        tracing = self._tracing
        if not tracing.on:
            yield
            return
        tracing.record("queued", claim.enqueued_at, claim.claimed_at, parent=claim.traceparent)
        with tracing.span("job", claim.traceparent, job_id=run.id, worker=worker, attempts=claim.attempts):
            run.traceparent = tracing.carrier()
            yield

    def slot(self, events: Sequence[Event], run_of: Callable[[str], Run | None]) -> None:
        """The span of a slot, a trace of its own with a link to every job that stepped in it."""
        if not self._tracing.on:
            return
        report = next((event for event in events if isinstance(event, SlotReport)), None)
        runs = [run for event in events if isinstance(event, Stepped) and (run := run_of(event.job_id))]
        if report is None or not runs:
            return
        now = time.time()
        self._tracing.record(
            "slot",
            now - report.measured_s,
            now,
            links=[run.traceparent for run in runs],
            rows=report.rows,
            skipped=report.skipped,
            chunks=report.chunks,
        )

    def image(self, run: Run, image: ImageReady) -> None:
        """The spans of an image's phases, told when its pixels are there."""
        if not self._tracing.on:
            return
        end = time.time()
        for name in reversed(PHASES):
            begin = end - getattr(image.timings, name)
            self._tracing.record(name, begin, end, parent=run.traceparent, image=image.index)
            end = begin

    @contextmanager
    def upload(self, run: Run, index: int) -> Iterator[None]:
        """The span of encoding and storing an image."""
        with self._tracing.span("upload", run.traceparent, image=index):
            yield
