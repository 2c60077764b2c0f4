"""Values that cross process borders: job, result, event, errors. Imports pydantic and nothing of ours."""

from synerdiff.protocol.errors import ErrorInfo, FieldError, SynerDiffError
from synerdiff.protocol.event import JobEvent
from synerdiff.protocol.job import Job, Limits, ModelEntry, parse_job, pool_of
from synerdiff.protocol.result import Delivery, ImageRef, JobResult, JobState, JobView, Receipt, Timings

__all__ = [
    "Delivery",
    "ErrorInfo",
    "FieldError",
    "ImageRef",
    "Job",
    "JobEvent",
    "JobResult",
    "JobState",
    "JobView",
    "Limits",
    "ModelEntry",
    "Receipt",
    "SynerDiffError",
    "Timings",
    "parse_job",
    "pool_of",
]
