"""From a producer's fields to a job that may be stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synerdiff.client.catalogue import Catalogue
from synerdiff.protocol import FieldError, Job, Limits, parse_job
from synerdiff.protocol.errors import InvalidJob

MAX_KEY_CHARS = 255


def prepare(
    fields: Mapping[str, Any],
    catalogue: Catalogue,
    limits: Limits,
    default_model: str,
    idempotency_key: str | None = None,
) -> tuple[Job, str]:
    """Validate the fields of one job; returns it and the pool that serves its model.

    Raises :class:`InvalidJob` or :class:`UnknownModel`.
    """
    _check_key(idempotency_key)
    given = {key: value for key, value in fields.items() if value is not None}
    entry = catalogue.entry(given.get("model", default_model))
    return parse_job(given, limits=limits, entry=entry), entry.pool


def _check_key(key: str | None) -> None:
    if key is not None and not (0 < len(key) <= MAX_KEY_CHARS and key.isprintable()):
        message = f"idempotency_key must be 1 to {MAX_KEY_CHARS} printable characters; got {len(key)} characters"
        raise InvalidJob([FieldError(field="idempotency_key", message=message)])
