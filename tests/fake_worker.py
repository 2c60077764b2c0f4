"""A worker without engine or Celery: claims what the ledger released and finishes it, for tests of what is above."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import uuid
from collections.abc import Iterator

import numpy as np

from synerdiff.ledger import Claim, Ledger, WorkerReport
from synerdiff.protocol import ErrorInfo, ImageRef, Job, JobEvent, JobResult, JobState, ModelEntry, Receipt, Timings
from synerdiff.storage import Store, content_type, encode_image, image_key
from synerdiff.workers.previews import data_url

MODEL = "tiny-emoji"
POOL = MODEL
LEASE_S = 30.0


class FakeWorker:
    """Serves one pool. A prompt with ``fail`` fails; one with ``hold`` stays queued."""

    def __init__(self, ledger: Ledger, store: Store, prefix: str = "images/") -> None:
        self.ledger, self.store, self.prefix = ledger, store, prefix
        self.name = f"fake-{uuid.uuid4().hex[:6]}"
        self.failure: BaseException | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        ledger.put_model(ModelEntry(name=MODEL, pool=POOL))

    def register(self) -> None:
        """Say that this worker is there."""
        report = WorkerReport(name=self.name, pool=POOL, capacity=64, device="cpu", profile_id="p1")
        self.ledger.heartbeat(report, ttl_s=60.0)

    @contextlib.contextmanager
    def running(self) -> Iterator[FakeWorker]:
        """Work in the background; an error inside fails the test."""
        self.register()
        self._thread.start()
        try:
            yield self
        finally:
            self._stopping.set()
            self._thread.join(timeout=10)
            if self.failure is not None:
                raise self.failure

    def _run(self) -> None:
        try:
            while not self._stopping.wait(0.01):
                self.work_once()
        except BaseException as error:  # re-raised in the test
            self.failure = error

    def work_once(self) -> None:
        """Run every job that is released now."""
        for view in self.ledger.list_jobs(state=JobState.QUEUED, pool=POOL, limit=1000):
            if "hold" not in view.job.prompt:
                claim = self.ledger.claim(view.id, worker=self.name, nonce=uuid.uuid4().hex, lease_s=LEASE_S)
                if isinstance(claim, Claim):
                    self._make(claim.job, claim.token)

    def _make(self, job: Job, token: int) -> None:
        for step in range(1, job.steps + 1):
            self.ledger.progress(job.id, token, JobEvent(kind="step", step=step, steps=job.steps))
            if "slowly" in job.prompt:
                self._preview(job, token, step)
        if "fail" in job.prompt:
            self.ledger.fail(job.id, token, ErrorInfo(code="engine_error", message="the device caught fire"))
            return
        receipt = Receipt(job_id=job.id, model=job.model, sampler=job.sampler, steps=job.steps, worker=self.name)
        images = [self._image(job, index, receipt) for index in range(job.n)]
        self.ledger.finish(job.id, token, JobResult(images=images, timings=Timings(total=0.5), receipt=receipt))

    def _preview(self, job: Job, token: int, step: int) -> None:
        """Show the step in a picture, and leave a moment to see it: the next one replaces it."""
        picture = np.full((4, 4, 3), step, dtype=np.uint8)
        data = {str(index): data_url(picture) for index in range(job.n)}
        self.ledger.progress(job.id, token, JobEvent(kind="preview", step=step, steps=job.steps, data=data))
        self._stopping.wait(0.2)

    def _image(self, job: Job, index: int, receipt: Receipt) -> ImageRef:
        pixels = np.full((job.height, job.width, 3), (job.seed + index) % 256, dtype=np.uint8)
        data = encode_image(pixels, job.format, receipt, index)
        key = image_key(self.prefix, job, index)
        self.store.put_image(key, data, content_type(job.format))
        digest = hashlib.sha256(data).hexdigest()
        return ImageRef(key=key, sha256=digest, width=job.width, height=job.height, seed=job.seed + index)
