"""boto's errors as one sentence: what failed, where, and what to set. Never a credential."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from synerdiff.protocol.errors import ObjectNotFound, StorageUnavailable
from synerdiff.storage.config import StoreConfig

MISSING_KEY = frozenset({"NoSuchKey", "404"})
_CREDENTIAL_CODES = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "403", "ExpiredToken", "InvalidToken"}
)
_KEYS = "SYNERDIFF_S3_ACCESS_KEY and SYNERDIFF_S3_SECRET_KEY (or the AWS credential chain)"


@contextmanager
def translated(config: StoreConfig, doing: str, key: str = "") -> Iterator[None]:
    """Turn what boto raises inside into :class:`StorageUnavailable`, or :class:`ObjectNotFound` for a missing key."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if key and code in MISSING_KEY:
            raise ObjectNotFound(f"no object {key} in bucket {config.bucket} at {config.where}") from None
        raise StorageUnavailable(_refused(config, doing, code)) from None
    except (BotoCoreError, ValueError) as error:  # ValueError: an endpoint that is no URL
        raise StorageUnavailable(_unreachable(config, doing, type(error).__name__)) from None


def _refused(config: StoreConfig, doing: str, code: str) -> str:
    if code in ("NoSuchBucket", "404"):
        return (
            f"bucket {config.bucket} does not exist at {config.where} ({doing}); create it or set SYNERDIFF_S3_BUCKET"
        )
    if code in _CREDENTIAL_CODES:
        return f"S3 at {config.where} refused the credentials ({doing}: {code}); set {_KEYS}"
    return f"S3 at {config.where} refused the request ({doing}, bucket {config.bucket}: {code or 'no reason given'})"


def _unreachable(config: StoreConfig, doing: str, kind: str) -> str:
    if kind in ("NoCredentialsError", "PartialCredentialsError"):
        return f"no credentials for S3 at {config.where} ({doing}); set {_KEYS}"
    return f"S3 at {config.where} cannot be reached ({doing}: {kind}); start it or set SYNERDIFF_S3_ENDPOINT"
