"""Images on their way to the object store, kept in memory until they are there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Protocol

from synerdiff.engine.types import ImageReady
from synerdiff.protocol import ErrorInfo, ImageRef, Receipt
from synerdiff.protocol.errors import SynerDiffError
from synerdiff.storage import Stored, content_type, encode_image, image_key
from synerdiff.telemetry import get_logger
from synerdiff.workers.backoff import pauses
from synerdiff.workers.metrics import WorkerMetrics
from synerdiff.workers.receipts import Maker, image_receipt
from synerdiff.workers.runs import Failed, Run, Saved
from synerdiff.workers.traces import Traces

log = get_logger(__name__)


class ImageStore(Protocol):
    """The part of the object store that uploads need."""

    def put_image(self, key: str, data: bytes, content_type: str, sha256: str | None = None) -> Stored: ...


class Uploads:
    """A few threads that encode and store images; bounded in bytes.

    ``submit`` never blocks, so stepping goes on; while ``limit_bytes`` or more wait, ``has_room`` is false and
    no further job is claimed. A store that refuses is tried again for as long as the job is this worker's.
    """

    def __init__(
        self,
        store: ImageStore,
        prefix: str,
        *,
        threads: int,
        limit_bytes: int,
        on_room: Callable[[], None],
        metrics: WorkerMetrics | None = None,
        traces: Traces | None = None,
    ) -> None:
        self._store = store
        self._prefix = prefix
        self._limit_bytes = limit_bytes
        self._on_room = on_room
        self._metrics = metrics or WorkerMetrics()
        self._traces = traces or Traces()
        self._waiting: SimpleQueue[tuple[Run, ImageReady, float] | None] = SimpleQueue()
        # Daemons: a request that hangs must not hold up the end of the process.
        self._threads = [threading.Thread(target=self._work, name=f"upload-{n}", daemon=True) for n in range(threads)]
        self._lock = threading.Lock()
        self._waiting_bytes = 0
        self.maker = Maker("", "", {})
        for thread in self._threads:
            thread.start()

    @property
    def has_room(self) -> bool:
        """Whether another job may be claimed."""
        return self._waiting_bytes < self._limit_bytes

    @property
    def waiting_bytes(self) -> int:
        """Pixels that are not stored yet."""
        return self._waiting_bytes

    def submit(self, run: Run, image: ImageReady) -> None:
        """Store an image; the run hears of it as :class:`Saved`, or :class:`Failed` if it cannot be encoded."""
        self._count(image.pixels.nbytes)
        self._waiting.put((run, image, time.monotonic()))

    def stop(self) -> None:
        """Let the threads end; what is under way ends with its job."""
        for _ in self._threads:
            self._waiting.put(None)

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            self._carry(*item)

    def _count(self, size: int) -> None:
        with self._lock:
            self._waiting_bytes += size

    def _carry(self, run: Run, image: ImageReady, made_at: float) -> None:
        try:
            receipt = image_receipt(run.job, image, self.maker)
            with self._traces.upload(run, image.index):
                data = encode_image(image.pixels, run.job.format, receipt, image.index)
                stored = self._store_patiently(run, image, data)
            if stored is not None:
                run.tell(_saved(image, stored, stored.receipt or receipt, time.monotonic() - made_at))
        except BaseException as error:
            # Also MemoryError: an upload thread must end in news, or the job would wait for ever.
            log.exception("image not stored", job_id=run.id, image=image.index)
            run.tell(Failed(_upload_error(error)))
        finally:
            self._count(-image.pixels.nbytes)
            self._on_room()

    def _store_patiently(self, run: Run, image: ImageReady, data: bytes) -> Stored | None:
        """Store, again and again if need be; None when nobody needs the image any more."""
        key = image_key(self._prefix, run.job, image.index)
        for pause_s in pauses(first_s=0.1, most_s=5.0):
            if run.over.is_set():
                return None
            run.moved()
            began = time.monotonic()
            try:
                stored = self._store.put_image(key, data, content_type(run.job.format))
                self._metrics.stored(time.monotonic() - began, adopted=stored.adopted)
                return stored
            except SynerDiffError as error:
                self._metrics.store_refused(again=error.retryable)
                if not error.retryable:
                    raise
                log.warning("image not stored yet", job_id=run.id, image=image.index, reason=error.message)
            run.over.wait(pause_s)
        return None


def _saved(image: ImageReady, stored: Stored, receipt: Receipt, upload_s: float) -> Saved:
    height, width = image.pixels.shape[:2]
    ref = ImageRef(key=stored.key, sha256=stored.sha256, width=width, height=height, seed=image.seed)
    return Saved(ref, receipt, image.index, upload_s)


def _upload_error(error: BaseException) -> ErrorInfo:
    if isinstance(error, SynerDiffError):
        return error.info
    return ErrorInfo(code="upload_failed", message=f"the image could not be stored: {type(error).__name__}")
