"""The object store: conditional writes, reads, presigned URLs. Bytes in, bytes out."""

from __future__ import annotations

import base64
import hashlib
import threading
from dataclasses import dataclass
from typing import Any

from synerdiff.protocol import Receipt
from synerdiff.protocol.errors import ObjectNotFound, StorageUnavailable
from synerdiff.storage.config import StoreConfig
from synerdiff.storage.embedded import read_receipt
from synerdiff.storage.errors import MISSING_KEY, translated

_UNMET = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "OperationAborted", "409"})
_PUT_TRIES = 3


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that is in the store.

    ``adopted`` is true when another writer's object was there already: then ``sha256``, ``size`` (bytes)
    and ``receipt`` are that object's, and the caller's bytes were dropped.
    """

    key: str
    sha256: str
    size: int
    adopted: bool = False
    receipt: Receipt | None = None


class Store:
    """One bucket of an S3-compatible store. Safe to share between threads; connects on first use.

    Every method raises :class:`StorageUnavailable` when the store cannot be reached or refuses; calls are
    tried twice inside, so that callers own the longer backoff.
    """

    def __init__(self, config: StoreConfig) -> None:
        self.config = config
        self._made: Any = None
        self._lock = threading.Lock()

    def check(self) -> None:
        """Find out whether the bucket is there and the credentials work. Creates nothing."""
        with translated(self.config, "checking the bucket"):
            self.client.head_bucket(Bucket=self.config.bucket)

    def ensure_bucket(self) -> None:
        """Create the bucket unless it is there."""
        from botocore.exceptions import ClientError

        with translated(self.config, "creating the bucket"):
            try:
                self.client.head_bucket(Bucket=self.config.bucket)
            except ClientError as error:
                if _code(error) not in ("404", "NoSuchBucket"):
                    raise
                self._create_bucket()

    def put_image(self, key: str, data: bytes, content_type: str, sha256: str | None = None) -> Stored:
        """Store an image only if its key is free, else adopt what is there, if it is the same job's and request's.

        By their receipts: an object of another request belongs to a job whose record is gone, and is replaced. That too
        is conditional, on the very object that was looked at, so of several writers still only one stores.
        ``sha256`` (hex, of ``data``) is checked by the server and kept in the object's metadata.
        """
        digest = sha256 or hashlib.sha256(data).hexdigest()
        for _ in range(_PUT_TRIES):
            if self._put(key, data, content_type, digest, IfNoneMatch="*"):
                return Stored(key=key, sha256=digest, size=len(data))
            try:
                there, version = self._get(key)
            except ObjectNotFound:
                continue  # 409: a racing write was under way and failed, or the object was deleted since
            found = read_receipt(there)
            if _same_request(found, read_receipt(data)):
                digest = hashlib.sha256(there).hexdigest()
                return Stored(key=key, sha256=digest, size=len(there), adopted=True, receipt=found)
            if self._put(key, data, content_type, digest, IfMatch=version):
                return Stored(key=key, sha256=digest, size=len(data))
        raise StorageUnavailable(f"S3 at {self.config.where} keeps reporting a conflict for {key} that is not there")

    def get(self, key: str) -> bytes:
        """An object's bytes. Raises :class:`ObjectNotFound`."""
        return self._get(key)[0]

    def head(self, key: str) -> Stored | None:
        """What the store says of an object without reading it, or None when it is not there."""
        try:
            with translated(self.config, "looking up an image", key):
                head = self.client.head_object(Bucket=self.config.bucket, Key=key)
        except ObjectNotFound:
            return None
        return Stored(key=key, sha256=head["Metadata"].get("sha256", ""), size=head["ContentLength"])

    def presign(self, key: str, expires_s: float) -> str:
        """A URL (SigV4) that anybody may GET the object with for ``expires_s`` seconds. Makes no request."""
        with translated(self.config, "signing a URL"):
            url: str = self.client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self.config.bucket, "Key": key},
                ExpiresIn=max(1, int(expires_s)),
            )
        return url

    def delete(self, key: str) -> None:
        """Delete an object; one that is not there is deleted already."""
        with translated(self.config, "deleting an image"):
            self.client.delete_object(Bucket=self.config.bucket, Key=key)

    def _get(self, key: str) -> tuple[bytes, str]:
        """An object's bytes and its ETag."""
        with translated(self.config, "reading an image", key):
            found = self.client.get_object(Bucket=self.config.bucket, Key=key)
            body: bytes = found["Body"].read()
        return body, found["ETag"]

    def _put(self, key: str, data: bytes, content_type: str, digest: str, **condition: str) -> bool:
        """Store an object; False where ``condition`` (``IfNoneMatch`` or ``IfMatch``) does not hold."""
        from botocore.exceptions import ClientError

        checksum = base64.b64encode(bytes.fromhex(digest)).decode()
        with translated(self.config, "storing an image"):
            try:
                self.client.put_object(
                    Bucket=self.config.bucket,
                    Key=key,
                    Body=data,
                    ContentType=content_type,
                    Metadata={"sha256": digest},
                    ChecksumSHA256=checksum,
                    **condition,
                )
            except ClientError as error:
                if _code(error) in _UNMET or ("IfMatch" in condition and _code(error) in MISSING_KEY):
                    return False
                raise
        return True

    def _create_bucket(self) -> None:
        from botocore.exceptions import ClientError

        region = self.config.region
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        try:
            self.client.create_bucket(Bucket=self.config.bucket, **where)
        except ClientError as error:
            if _code(error) not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise

    @property
    def client(self) -> Any:
        """boto3's own client, for what this class has no method for; made on first use."""
        with self._lock:
            if self._made is None:
                self._made = _connect(self.config)
            return self._made


def _same_request(one: Receipt | None, other: Receipt | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.job_id, one.request) == (other.job_id, other.request)


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _connect(config: StoreConfig) -> Any:
    import boto3
    from botocore.config import Config

    options = Config(
        signature_version="s3v4",  # without it boto3 presigns custom endpoints with SigV2
        s3={"addressing_style": "path" if config.endpoint else "auto"},
        connect_timeout=config.connect_timeout_s,
        read_timeout=config.read_timeout_s,
        retries={"mode": "standard", "total_max_attempts": 2},
        max_pool_connections=32,
    )
    return boto3.session.Session().client(
        "s3",
        endpoint_url=config.endpoint,
        aws_access_key_id=config.access_key,
        aws_secret_access_key=config.secret_key,
        region_name=config.region,
        verify=config.ca_file,
        config=options,
    )
