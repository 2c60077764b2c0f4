"""The error tree of SynerDiff.

Every error has a ``code`` (stable, for programs), says whether trying again may help (``retryable``) and
maps to one HTTP status. Its message is one sentence for a person.

    SynerDiffError
    ├── InvalidJob              422  a field is wrong; ``errors`` lists every field
    │   └── UnknownModel        422  the catalogue has no such model
    ├── JobNotFound             404
    ├── ObjectNotFound          404  the store has no such object
    ├── CorruptObject           500  an object's bytes are not what its record says
    ├── IdempotencyConflict     409  the key or id was used with other fields
    ├── WrongState              409  the job's state does not allow this
    ├── Overloaded              429  queue or quota is full; ``retry_after_s``
    │   └── RateLimited         429  the tenant's requests come too fast
    ├── Unauthorized            401
    ├── Forbidden               403
    ├── Unavailable             503  a dependency cannot be reached
    │   ├── LedgerUnavailable
    │   ├── StorageUnavailable
    │   └── UnsafeBroker             the Redis could drop jobs (no ``noeviction``)
    ├── SettingsError           500  an environment variable is wrong
    ├── ModelError              500  a checkpoint cannot be loaded or used
    ├── PlanError               500  a plan or profile does not fit
    ├── TraceError              422  a trace file is wrong
    ├── EngineError             500  the device failed
    │   ├── OutOfMemory
    │   └── NonFiniteImage
    ├── JobEnded                     what ``Client.wait`` raises for a job without images
    │   ├── JobFailed           500
    │   ├── JobCancelled        410
    │   ├── JobExpired          410
    │   └── JobDead             500
    └── WaitTimeout             504
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class FieldError(BaseModel):
    """One wrong field: its name, the limit it broke and one sentence that names both and the value."""

    model_config = ConfigDict(frozen=True)

    field: str
    message: str


class ErrorInfo(BaseModel):
    """An error as it is stored in a record and shown over HTTP."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str
    field: str | None = None
    retryable: bool = False


class SynerDiffError(Exception):
    """Base of every error this product raises on purpose."""

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field

    @property
    def info(self) -> ErrorInfo:
        """The error as a value that can be stored or sent."""
        return ErrorInfo(code=self.code, message=self.message, field=self.field, retryable=self.retryable)


class InvalidJob(SynerDiffError):
    """A job's fields break a rule; nothing was stored."""

    code = "invalid_job"
    http_status = 422

    def __init__(self, errors: Sequence[FieldError]) -> None:
        first = errors[0]
        super().__init__(first.message, field=first.field)
        self.errors = tuple(errors)


class UnknownModel(InvalidJob):
    """The catalogue has no model of this name."""

    code = "unknown_model"


class JobNotFound(SynerDiffError):
    """No record has this id (or it is past its keeping time, or another tenant's)."""

    code = "job_not_found"
    http_status = 404


class ObjectNotFound(SynerDiffError):
    """The store has no object of this key: it was deleted, or never stored."""

    code = "object_not_found"
    http_status = 404


class CorruptObject(SynerDiffError):
    """An object's bytes do not match the sha256 in its job's record."""

    code = "corrupt_object"


class IdempotencyConflict(SynerDiffError):
    """The id or idempotency key was already used with other fields."""

    code = "idempotency_conflict"
    http_status = 409


class WrongState(SynerDiffError):
    """The job's state does not allow what was asked."""

    code = "wrong_state"
    http_status = 409


class Overloaded(SynerDiffError):
    """A queue or quota is full; try again after ``retry_after_s`` seconds."""

    code = "overloaded"
    retryable = True
    http_status = 429

    def __init__(self, message: str, *, retry_after_s: float, field: str | None = None) -> None:
        super().__init__(message, field=field)
        self.retry_after_s = retry_after_s


class RateLimited(Overloaded):
    """The tenant's requests come faster than its rate; try again after ``retry_after_s`` seconds."""

    code = "rate_limited"


class Unauthorized(SynerDiffError):
    """No valid key was given."""

    code = "unauthorized"
    http_status = 401


class Forbidden(SynerDiffError):
    """The key does not allow this."""

    code = "forbidden"
    http_status = 403


class Unavailable(SynerDiffError):
    """Something this service depends on cannot be reached."""

    code = "unavailable"
    retryable = True
    http_status = 503


class LedgerUnavailable(Unavailable):
    """Redis cannot be reached or refuses writes."""

    code = "ledger_unavailable"


class StorageUnavailable(Unavailable):
    """The S3 endpoint cannot be reached or refuses the request."""

    code = "storage_unavailable"


class UnsafeBroker(Unavailable):
    """The Redis may evict keys, so it could lose jobs."""

    code = "unsafe_broker"
    retryable = False


class SettingsError(SynerDiffError):
    """An environment variable or option has a wrong value."""

    code = "bad_settings"


class ModelError(SynerDiffError):
    """A checkpoint cannot be loaded, or cannot do what was asked."""

    code = "bad_model"


class PlanError(SynerDiffError):
    """A plan, table or profile has a wrong version or shape, or is for something else."""

    code = "bad_plan"


class TraceError(SynerDiffError):
    """A trace file is wrong."""

    code = "bad_trace"
    http_status = 422


class EngineError(SynerDiffError):
    """The device failed while it worked on a job."""

    code = "engine_error"
    retryable = True


class OutOfMemory(EngineError):
    """The device has too little memory for this job even when it runs alone."""

    code = "out_of_memory"
    retryable = False


class NonFiniteImage(EngineError):
    """The image has NaN or infinite values, in single precision too."""

    code = "non_finite_image"
    retryable = False


class JobEnded(SynerDiffError):
    """The job ended without images."""

    code = "job_ended"


class JobFailed(JobEnded):
    """The job failed; the record says why."""

    code = "job_failed"


class JobCancelled(JobEnded):
    """The job was cancelled."""

    code = "job_cancelled"
    http_status = 410


class JobExpired(JobEnded):
    """The job's deadline passed before its images were done."""

    code = "job_expired"
    http_status = 410


class JobDead(JobEnded):
    """The job used up its attempts."""

    code = "job_dead"


class WaitTimeout(SynerDiffError):
    """The job did not end within the time the caller was willing to wait; it goes on."""

    code = "wait_timeout"
    retryable = True
    http_status = 504
