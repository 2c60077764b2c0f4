"""A job's images: presigned URLs, and files on this machine."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path, PurePosixPath

from synerdiff.protocol import ImageRef, JobView
from synerdiff.protocol.errors import CorruptObject
from synerdiff.storage import Store


def with_urls(view: JobView, store: Store, expires_s: float) -> JobView:
    """The view with a presigned URL for each image; the URLs work for ``expires_s`` seconds."""
    images = [image.model_copy(update={"url": store.presign(image.key, expires_s)}) for image in view.images]
    return view.model_copy(update={"images": images})


def fetch(image: ImageRef, store: Store) -> bytes:
    """An image's bytes, checked. Raises :class:`CorruptObject` when they are not what the record says."""
    data = store.get(image.key)
    found = hashlib.sha256(data).hexdigest()
    if found != image.sha256:
        raise CorruptObject(f"{image.key} has sha256 {found}, and its record says {image.sha256}")
    return data


def save(view: JobView, store: Store, directory: Path) -> list[Path]:
    """Write a job's images to ``{directory}/{job id}-{index}.{ext}``, each whole or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    return [
        _write(directory / f"{view.id}-{index}{PurePosixPath(image.key).suffix}", fetch(image, store))
        for index, image in enumerate(view.images)
    ]


def _write(path: Path, data: bytes) -> Path:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    return path
