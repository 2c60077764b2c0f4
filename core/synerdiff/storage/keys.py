"""Object keys and content types. A key follows from the job alone, so a job that runs twice writes once."""

from __future__ import annotations

from synerdiff.protocol.job import ImageFormat

_EXTENSIONS: dict[str, str] = {"png": "png", "webp": "webp", "jpeg": "jpg"}


def image_key(prefix: str, job_id: str, index: int, format: ImageFormat) -> str:  # noqa: A002
    """The key of a job's image ``index``: ``{prefix}{job_id}/{index}.{ext}``."""
    return f"{prefix}{job_id}/{index}.{_EXTENSIONS[format]}"


def content_type(format: ImageFormat) -> str:  # noqa: A002
    """The media type of an image format."""
    return f"image/{format}"
