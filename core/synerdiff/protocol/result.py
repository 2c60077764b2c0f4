"""What a job comes to: states, images, timings and the receipt."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from synerdiff.protocol.errors import ErrorInfo
from synerdiff.protocol.job import Job


class JobState(StrEnum):
    """Where a job stands; the last five are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    DEAD = "dead"

    @property
    def final(self) -> bool:
        """Whether the job will never change again (a dead one only by hand)."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


class ImageRef(BaseModel):
    """One stored image. ``url`` is presigned when asked for and never stored."""

    model_config = ConfigDict(extra="ignore")

    key: str
    url: str | None = None
    sha256: str
    width: int
    height: int
    seed: int


class Timings(BaseModel):
    """Where a job's time went, in seconds. Phases of several images overlap; ``total`` is E2E latency."""

    model_config = ConfigDict(extra="ignore")

    queued: float = 0.0
    encode: float = 0.0
    denoise: float = 0.0
    decode_wait: float = 0.0
    decode: float = 0.0
    upload: float = 0.0
    total: float = 0.0


class Receipt(BaseModel):
    """How the images were made: enough to make them again, and to see what was approximated.

    ``rows_run`` and ``rows_skipped`` count UNet rows of all images; ``rows_per_call`` is the mean number of
    rows in the UNet calls the job took part in; ``skipped_steps[i]`` lists the denoising steps (from 0) at
    which image ``i`` reused its guidance difference; ``text_chunks`` is how many lengths of the text encoder the
    prompts were encoded in (1: they fitted); ``dtype`` is the precision they were made in, such as ``bfloat16``;
    ``request`` holds the fields that decide the pixels.
    """

    model_config = ConfigDict(extra="ignore")

    schema_version: int = 1
    job_id: str = ""
    model: str = ""
    model_hash: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    dtype: str = ""
    sampler: str = ""
    steps: int = 0
    rows_run: int = 0
    rows_skipped: int = 0
    rows_per_call: float = 0.0
    skipped_steps: list[list[int]] = Field(default_factory=list)
    chunks: int = 0
    text_chunks: int = 1
    plan_version: int = 0
    worker: str = ""
    request: dict[str, str | int | float] = Field(default_factory=dict)


class JobResult(BaseModel):
    """The result of a job that succeeded, as stored in its record."""

    model_config = ConfigDict(extra="ignore")

    images: list[ImageRef]
    timings: Timings
    receipt: Receipt


class Delivery(BaseModel):
    """One attempt to deliver a job's webhook.

    ``status`` is the receiver's HTTP status; without one ``reason`` says what went wrong. ``next_s`` seconds after
    it the next attempt is due; None: there is none.
    """

    model_config = ConfigDict(extra="ignore")

    at: float
    status: int | None = None
    reason: str = ""
    duration_s: float = 0.0
    next_s: float | None = None


class JobView(BaseModel):
    """A job as its owner sees it."""

    model_config = ConfigDict(extra="ignore")

    id: str
    state: JobState
    job: Job
    images: list[ImageRef] = Field(default_factory=list)
    timings: Timings | None = None
    receipt: Receipt | None = None
    error: ErrorInfo | None = None
    attempts: int = 0
    worker: str | None = None
    step: int = 0
    created_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    deliveries: list[Delivery] = Field(default_factory=list)
