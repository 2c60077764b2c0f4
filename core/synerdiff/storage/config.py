"""Where images are stored and how requests are signed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


class _Secret(Protocol):
    def get_secret_value(self) -> str: ...


class S3Settings(Protocol):
    """The part of the settings that a store is made from."""

    @property
    def s3_endpoint(self) -> str | None: ...
    @property
    def s3_bucket(self) -> str: ...
    @property
    def s3_access_key(self) -> str | None: ...
    @property
    def s3_secret_key(self) -> _Secret | None: ...
    @property
    def s3_region(self) -> str: ...
    @property
    def s3_prefix(self) -> str: ...
    @property
    def ca_file(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """An S3-compatible store.

    ``endpoint`` empty means AWS; ``access_key`` and ``secret_key`` empty mean the default AWS credential
    chain; ``prefix`` starts every key; ``ca_file`` (PEM) replaces the usual authorities. Timeouts are in seconds.
    """

    endpoint: str | None = None
    bucket: str = "synerdiff"
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    region: str = "us-east-1"
    prefix: str = "images/"
    ca_file: str | None = None
    connect_timeout_s: float = 3.0
    read_timeout_s: float = 20.0

    @classmethod
    def of(cls, settings: S3Settings) -> StoreConfig:
        """The store that a settings object names."""
        secret = settings.s3_secret_key
        return cls(
            endpoint=settings.s3_endpoint or None,
            bucket=settings.s3_bucket,
            access_key=settings.s3_access_key or None,
            secret_key=secret.get_secret_value() if secret is not None else None,
            region=settings.s3_region,
            prefix=settings.s3_prefix,
            ca_file=settings.ca_file or None,
        )

    @property
    def where(self) -> str:
        """The endpoint as messages show it, without user or password."""
        if self.endpoint is None:
            return f"AWS S3 ({self.region})"
        scheme, _, rest = self.endpoint.rpartition("://")
        return f"{scheme or 'http'}://{rest.rsplit('@', 1)[-1]}"
