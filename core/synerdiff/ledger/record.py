"""A job record as Redis holds it, read into a :class:`JobView`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from synerdiff.protocol import Delivery, ErrorInfo, Job, JobResult, JobState, JobView

SCHEMA_VERSION = 1
TRACEPARENT = "traceparent"


def fingerprint(job: Job) -> str:
    """A hash of what the producer asked for: two submits under one id or key must agree in it.

    The id does not count, nor does a seed that was chosen for the producer.
    """
    chosen = {"id"} if "seed" in job.model_fields_set else {"id", "seed"}
    fields = job.model_dump(mode="json", exclude=chosen)
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def job_document(job: Job, traceparent: str = "") -> str:
    """A job as its record holds it, with the trace that it was submitted in."""
    document = job.model_dump_json()
    return f'{document[:-1]},"{TRACEPARENT}":{json.dumps(traceparent)}}}' if traceparent else document


def read_traceparent(document: str) -> str:
    """The trace of a stored job, empty where it was not traced."""
    return str(json.loads(document).get(TRACEPARENT, "")) if TRACEPARENT in document else ""


def read_job(document: str) -> Job:
    """The stored job. Fields that a newer version added are ignored."""
    fields: dict[str, Any] = json.loads(document)
    return Job.model_validate({name: value for name, value in fields.items() if name in Job.model_fields})


def _seconds(value: str | None) -> float | None:
    return float(value) if value else None


def read_view(job_id: str, record: Mapping[str, str]) -> JobView | None:
    """The record's public face; None for an empty hash. Fields that are absent have their defaults."""
    if "state" not in record:
        return None
    result = JobResult.model_validate_json(record["result"]) if record.get("result") else None
    return JobView(
        id=job_id,
        state=JobState(record["state"]),
        job=read_job(record["job"]),
        images=result.images if result else [],
        timings=result.timings if result else None,
        receipt=result.receipt if result else None,
        error=ErrorInfo.model_validate_json(record["error"]) if record.get("error") else None,
        attempts=int(record.get("attempts") or 0),
        worker=record.get("worker") or None,
        step=int(record.get("step") or 0),
        created_at=float(record.get("created_at") or 0),
        started_at=_seconds(record.get("started_at")),
        finished_at=_seconds(record.get("finished_at")),
        deliveries=[Delivery.model_validate_json(line) for line in record.get("deliveries", "").splitlines()],
    )
