"""What both clients and the gateway stand on: the ledger, the hints, the store and the catalogue."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from synerdiff.client.catalogue import Catalogue
from synerdiff.client.prepare import prepare
from synerdiff.protocol import FieldError, Job, JobView
from synerdiff.protocol.errors import InvalidJob, JobNotFound, UnknownModel, WrongState
from synerdiff.settings import Settings, load
from synerdiff.storage import Store, StoreConfig, image_key

if TYPE_CHECKING:  # Redis and Celery take longer to import than all else here, so they wait until a client is made
    from synerdiff.dispatch import Hints
    from synerdiff.ledger import Ended, Ledger, Submission
    from synerdiff.telemetry.tracing import Off

log = logging.getLogger("synerdiff.client")


class Backend:
    """One connection each to Redis, the broker and S3; the last two are made when first needed."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self.settings = settings
        self.ledger = ledger
        self.catalogue = Catalogue(ledger.models)

    @classmethod
    def connect(cls, settings: Settings | None = None) -> Backend:
        """Connect to the ledger. Raises :class:`LedgerUnavailable` or :class:`SettingsError`."""
        from synerdiff.ledger import Ledger, LedgerConfig

        found = settings or load()
        return cls(found, Ledger.connect(found.redis_url, LedgerConfig.of(found)))

    @cached_property
    def tracing(self) -> Off:
        """Traces of what is submitted, off unless the settings name an endpoint. Raises :class:`SettingsError`."""
        from synerdiff.telemetry.tracing import tracing_of

        return tracing_of("synerdiff-producer", self.settings.otel_endpoint)

    @cached_property
    def store(self) -> Store:
        """The object store of the settings."""
        return Store(StoreConfig.of(self.settings))

    @cached_property
    def _hints(self) -> Hints:
        from synerdiff.dispatch import Hints, celery_app

        return Hints(celery_app(self.settings.redis_url))

    def submit(self, fields: Mapping[str, Any], idempotency_key: str | None = None) -> Submission:
        """Validate and store one job, and ring for what its arrival released."""
        job, pool = self._prepare(fields, idempotency_key)
        with self.tracing.span("submit", job_id=job.id, pool=pool):
            submission = self.ledger.submit(
                job, pool, idempotency_key=idempotency_key, traceparent=self.tracing.carrier()
            )
            self.ring(pool, submission.released)
        return submission

    def submit_many(self, jobs: Sequence[Mapping[str, Any]]) -> list[Submission]:
        """Validate all, then store each pool's jobs in one round trip."""
        prepared = self._prepare_all(jobs)
        by_pool: dict[str, list[int]] = {}
        for index, (_, pool) in enumerate(prepared):
            by_pool.setdefault(pool, []).append(index)
        found: dict[int, Submission] = {}
        for pool, places in by_pool.items():
            with self.tracing.span("submit", jobs=len(places), pool=pool):
                batch = [prepared[place][0] for place in places]
                stored = self.ledger.submit_many(batch, pool, traceparent=self.tracing.carrier())
                found.update(zip(places, stored, strict=True))
                self.ring(pool, [job_id for submission in stored for job_id in submission.released])
        return [found[index] for index in range(len(prepared))]

    def view(self, job_id: str) -> JobView:
        """A job's record. Raises :class:`JobNotFound`."""
        return self.views([job_id])[job_id]

    def views(self, job_ids: Sequence[str]) -> dict[str, JobView]:
        """Many records in one round trip. Raises :class:`JobNotFound` for the first that is missing."""
        odd = next((job_id for job_id in job_ids if not job_id.isprintable()), None)
        if odd is not None:
            raise _not_found(odd)  # Redis would not take half of a surrogate pair
        found: dict[str, JobView] = {}
        for job_id, view in zip(job_ids, self.ledger.get_many(job_ids), strict=True):
            if view is None:
                raise _not_found(job_id)
            found[job_id] = view
        return found

    def cancel(self, job_id: str) -> Ended:
        """Cancel a job, and ring for what its place released."""
        pool = self.catalogue.pool(self.view(job_id).job.model)
        ended = self.ledger.cancel(job_id)
        self.ring(pool, ended.released)
        return ended

    def delete(self, job_id: str) -> JobView:
        """Delete an ended job with its objects; returns what it was. The objects go first, so it can be done again.

        Raises :class:`WrongState` for a job that is open, or whose worker may still be storing an image.
        """
        view = self.view(job_id)
        if not view.state.final:
            raise WrongState(f"job {job_id} is {view.state.value}; cancel it before it is deleted")
        pool = self.catalogue.pool(view.job.model)
        if self.ledger.discarding(pool, job_id):
            raise WrongState(f"job {job_id} was stopped a moment ago; delete it again in a minute")
        prefix = self.settings.s3_prefix
        keys = {image.key for image in view.images}
        keys |= {image_key(prefix, view.job, index) for index in range(view.job.n)}
        for key in sorted(keys):
            self.store.delete(key)
        self.ring(pool, self.ledger.delete(job_id).released)
        return view

    def ring(self, pool: str, job_ids: Sequence[str]) -> None:
        """Send hints. One that cannot be sent now is sent by the reconciler: the job is stored all the same."""
        left = self._hints.send(pool, job_ids) if job_ids else ()
        if left:
            log.warning("%d hints for pool %s are left to the reconciler", len(left), pool)

    def close(self) -> None:
        """Close what was opened."""
        if "_hints" in vars(self):
            self._hints.close()
        self.ledger.close()

    def _prepare(self, fields: Mapping[str, Any], idempotency_key: str | None = None) -> tuple[Job, str]:
        return prepare(fields, self.catalogue, self.settings.limits, self.settings.model, idempotency_key)

    def _prepare_all(self, jobs: Sequence[Mapping[str, Any]]) -> list[tuple[Job, str]]:
        prepared: list[tuple[Job, str]] = []
        wrong: list[FieldError] = []
        kinds: set[type[InvalidJob]] = set()
        for index, fields in enumerate(jobs):
            try:
                prepared.append(self._prepare(fields))
            except InvalidJob as error:
                kinds.add(type(error))
                wrong += [
                    FieldError(field=f"jobs.{index}.{item.field}", message=f"job {index}: {item.message}")
                    for item in error.errors
                ]
        if wrong:
            raise (UnknownModel if kinds == {UnknownModel} else InvalidJob)(wrong)
        return prepared


def _not_found(job_id: str) -> JobNotFound:
    return JobNotFound(f"no job has the id {job_id[:80]!r}; finished jobs are kept for a day", field="id")
