"""Weights from an object store into a directory, before a worker starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

from synerdiff.protocol.errors import ModelError
from synerdiff.storage.config import StoreConfig
from synerdiff.storage.errors import translated
from synerdiff.storage.store import Store

MARK = ".etag"  # beside each file: the version that it was fetched in
KINDS = (".json", ".txt", ".safetensors")


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch did: files fetched, files that were there already, and bytes over the network."""

    fetched: int
    kept: int
    bytes: int


@dataclass(frozen=True, slots=True)
class _Object:
    key: str
    path: Path
    size: int
    etag: str

    @property
    def mark(self) -> Path:
        return self.path.with_name(self.path.name + MARK)

    @property
    def here(self) -> bool:
        """Whether this version lies in the directory already."""
        try:
            return self.path.stat().st_size == self.size and self.mark.read_text(encoding="utf-8") == self.etag
        except OSError:
            return False


def fetch_weights(uri: str, directory: Path, config: StoreConfig) -> Fetched:
    """Copy a checkpoint at ``s3://bucket/prefix`` into ``directory``; files that are there unchanged are kept.

    ``config`` says where the store is and who asks; its bucket is replaced by that of ``uri``. Configs, vocabularies
    and safetensors alone are fetched. A file appears under its name only once it is whole. Raises
    :class:`ModelError` for a wrong address or an empty prefix, :class:`StorageUnavailable` otherwise.
    """
    bucket, prefix = _parts(uri)
    found = replace(config, bucket=bucket)
    client = Store(found).client
    fetched = kept = size = 0
    with translated(found, "fetching weights"):
        for item in _listed(client, bucket, prefix, directory):
            if item.here:
                kept += 1
                continue
            _fetch(client, bucket, item)
            fetched += 1
            size += item.size
    if not fetched + kept:
        raise ModelError(f"{uri} holds no weights: nothing ends in {', '.join(KINDS)} there at {found.where}")
    return Fetched(fetched, kept, size)


def _parts(uri: str) -> tuple[str, str]:
    scheme, _, rest = uri.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket or not prefix.strip("/"):
        raise ModelError(f"weights come from s3://bucket/prefix; got {uri!r}")
    return bucket, prefix.strip("/") + "/"


def _listed(client: Any, bucket: str, prefix: str, directory: Path) -> Iterator[_Object]:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            name = PurePosixPath(entry["Key"].removeprefix(prefix))
            if name.suffix not in KINDS:
                continue
            if ".." in name.parts or name.is_absolute():
                raise ModelError(f"{entry['Key']} in bucket {bucket} would be written outside {directory}")
            yield _Object(entry["Key"], directory / name, entry["Size"], entry["ETag"])


def _fetch(client: Any, bucket: str, item: _Object) -> None:
    item.path.parent.mkdir(parents=True, exist_ok=True)
    partial = item.path.with_name(f"{item.path.name}.{uuid4().hex}.part")  # workers may share the directory
    try:
        client.download_file(bucket, item.key, str(partial))
        partial.replace(item.path)
    finally:
        partial.unlink(missing_ok=True)
    item.mark.write_text(item.etag, encoding="utf-8")
