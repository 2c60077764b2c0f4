"""What producers import: submit jobs, follow them, fetch their images.

    from synerdiff.client import Client

    client = Client()                                  # settings from SYNERDIFF_* variables
    job_id = client.submit(prompt="a red fox", steps=20)
    client.wait(job_id, timeout_s=60)
    client.download(job_id, "out")

Works with the base install alone; Celery and boto3 are imported when they are first needed.
"""

from synerdiff.client.aio import AsyncClient
from synerdiff.client.client import Client
from synerdiff.client.fields import JobFields, JobOptions
from synerdiff.protocol import ImageRef, Job, JobEvent, JobState, JobView, ModelEntry, Receipt, Timings
from synerdiff.protocol.errors import (
    CorruptObject,
    IdempotencyConflict,
    InvalidJob,
    JobCancelled,
    JobDead,
    JobEnded,
    JobExpired,
    JobFailed,
    JobNotFound,
    LedgerUnavailable,
    ObjectNotFound,
    Overloaded,
    RateLimited,
    StorageUnavailable,
    SynerDiffError,
    Unavailable,
    UnknownModel,
    UnsafeBroker,
    WaitTimeout,
    WrongState,
)

__all__ = [
    "AsyncClient",
    "Client",
    "CorruptObject",
    "IdempotencyConflict",
    "ImageRef",
    "InvalidJob",
    "Job",
    "JobCancelled",
    "JobDead",
    "JobEnded",
    "JobEvent",
    "JobExpired",
    "JobFailed",
    "JobFields",
    "JobNotFound",
    "JobOptions",
    "JobState",
    "JobView",
    "LedgerUnavailable",
    "ModelEntry",
    "ObjectNotFound",
    "Overloaded",
    "RateLimited",
    "Receipt",
    "StorageUnavailable",
    "SynerDiffError",
    "Timings",
    "Unavailable",
    "UnknownModel",
    "UnsafeBroker",
    "WaitTimeout",
    "WrongState",
]
