"""The synchronous client."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from synerdiff.client import outcome
from synerdiff.client.backend import Backend
from synerdiff.client.fields import JobFields, JobOptions
from synerdiff.client.images import save, with_urls
from synerdiff.client.pace import Pace
from synerdiff.protocol import JobEvent, JobView, ModelEntry
from synerdiff.protocol.errors import WaitTimeout
from synerdiff.settings import Settings

BLOCK_S = 2.0


class Client:
    """Submits jobs and follows them. Safe to share between threads; make one and keep it.

    ``settings`` defaults to the ``SYNERDIFF_*`` variables. Raises :class:`LedgerUnavailable` when Redis cannot
    be reached; every method may raise it later. Times are in seconds.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.backend = Backend.connect(settings)

    def submit(self, prompt: str, *, idempotency_key: str | None = None, **fields: Unpack[JobOptions]) -> str:
        """Store one job and return its id; it runs as soon as a worker is free.

        The same ``idempotency_key`` again returns the first job's id, whatever happened in between. Raises
        :class:`InvalidJob` (with every wrong field), :class:`UnknownModel`, :class:`IdempotencyConflict`
        when the key or id was used with other fields, :class:`Overloaded` when the queue is full. Nothing
        is stored then.
        """
        return self.backend.submit({**fields, "prompt": prompt}, idempotency_key).id

    def submit_many(self, jobs: Sequence[JobFields | Mapping[str, Any]]) -> list[str]:
        """Store many jobs in one round trip and return their ids in order.

        All are validated first: :class:`InvalidJob` names the wrong ones (``jobs.3.steps``) and stores none.
        """
        return [submission.id for submission in self.backend.submit_many(jobs)]

    def get(self, job_id: str, *, urls: bool = False) -> JobView:
        """The job as it stands; with ``urls``, a presigned URL for each image. Raises :class:`JobNotFound`."""
        view = self.backend.view(job_id)
        return self._with_urls(view) if urls else view

    def wait(self, job_id: str, timeout_s: float | None = None, *, urls: bool = False) -> JobView:
        """Wait for a job's images.

        Raises :class:`JobFailed`, :class:`JobCancelled`, :class:`JobExpired` or :class:`JobDead` (all
        :class:`JobEnded`) when it ended without, :class:`WaitTimeout` when it has not ended after
        ``timeout_s``, :class:`JobNotFound`.
        """
        for _ in self.events(job_id, timeout_s=timeout_s):
            pass
        return self._with_urls(outcome.succeeded(self.get(job_id))) if urls else outcome.succeeded(self.get(job_id))

    def wait_many(self, job_ids: Sequence[str], timeout_s: float | None = None, *, urls: bool = False) -> list[JobView]:
        """Wait until all jobs ended, however they did (see ``state``); views in the order of ``job_ids``.

        Raises :class:`WaitTimeout` or :class:`JobNotFound`.
        """
        pace = Pace(timeout_s)
        views: dict[str, JobView] = {}
        open_ids = list(dict.fromkeys(job_ids))
        while True:
            views.update(self.backend.views(open_ids))
            open_ids = [job_id for job_id in open_ids if not views[job_id].state.final]
            if not open_ids:
                break
            if pace.over:
                raise outcome.timed_out(views[open_ids[0]], pace.timeout_s)
            time.sleep(pace.next_s())
        found = [views[job_id] for job_id in job_ids]
        return [self._with_urls(view) for view in found] if urls else found

    def events(
        self, job_id: str, *, after: str = "0", timeout_s: float | None = None, previews: bool = False
    ) -> Iterator[JobEvent]:
        """Follow a job from the event after ``after`` (an event's id) to its end.

        With ``previews``, events of kind ``preview`` come along: ``data`` has a ``data:`` URL for each image's index.
        Raises :class:`JobNotFound`, and :class:`WaitTimeout` when it has not ended after ``timeout_s``.
        """
        pace = Pace(timeout_s)
        block_s = 0.0
        seen = "0" if previews else None
        while True:
            ended = self.backend.view(job_id).state.final  # read first: what ended before has all its events
            for event in self.backend.ledger.events(job_id, after, 0.0 if ended else block_s, seen):
                if event.kind == "preview":
                    seen = event.id
                else:
                    after = event.id
                yield event
                ended = ended or event.final
            if ended:
                return
            if pace.over:
                raise outcome.timed_out(self.backend.view(job_id), pace.timeout_s)
            block_s = min(BLOCK_S, pace.left_s)

    def cancel(self, job_id: str) -> JobView:
        """Cancel a job; one that has ended stays as it is. Raises :class:`JobNotFound`."""
        self.backend.cancel(job_id)
        return self.backend.view(job_id)

    def delete(self, job_id: str) -> JobView:
        """Delete a job that has ended, with its images; returns what it was.

        Raises :class:`WrongState` for one that is open or was stopped a moment ago, :class:`JobNotFound`.
        """
        return self.backend.delete(job_id)

    def download(self, job_id: str, directory: str | Path = ".") -> list[Path]:
        """Save a finished job's images as ``{job id}-{index}.{ext}`` and return the paths.

        Each file's sha256 is checked against the record: :class:`CorruptObject` otherwise. Raises as
        :meth:`wait` does for a job without images, and :class:`WaitTimeout` for one that has not ended.
        """
        view = outcome.succeeded(self.backend.view(job_id))
        if not view.state.final:
            raise WaitTimeout(f"job {job_id} is still {view.state.value}; wait for it before downloading")
        return save(view, self.backend.store, Path(directory))

    def models(self) -> list[ModelEntry]:
        """The models that jobs may ask for, those whose workers are scaled to zero included."""
        return self.backend.catalogue.entries()

    def close(self) -> None:
        """Close the connections."""
        self.backend.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _with_urls(self, view: JobView) -> JobView:
        if not view.images:
            return view
        return with_urls(view, self.backend.store, self.backend.settings.presign_expiry_s)
