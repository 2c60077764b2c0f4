"""Object keys and content types. A key follows from the job alone, so a job that runs twice writes once."""

from __future__ import annotations

from synerdiff.protocol.job import ImageFormat, Job

_DEFAULT_TENANT: str = Job.model_fields["tenant"].default
_EXTENSIONS: dict[str, str] = {"png": "png", "webp": "webp", "jpeg": "jpg"}


def image_key(prefix: str, job: Job, index: int) -> str:
    """The key of a job's image ``index``: ``{prefix}{job_id}/{index}.{ext}`` for the tenant ``default``, for others
    ``{prefix}{tenant}/{job_id}/{index}.{ext}``, so that tenants who choose the same id never meet."""
    owner = "" if job.tenant == _DEFAULT_TENANT else f"{_segment(job.tenant)}/"
    return f"{prefix}{owner}{job.id}/{index}.{_EXTENSIONS[job.format]}"


def _segment(tenant: str) -> str:
    """A tenant in a key: its characters are safe there, but stores and proxies resolve the names ``.`` and ``..``."""
    return tenant if tenant.strip(".") else tenant.replace(".", "%2E")


def content_type(format: ImageFormat) -> str:  # noqa: A002
    """The media type of an image format."""
    return f"image/{format}"
