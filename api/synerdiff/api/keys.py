"""API keys: which tenant a request speaks for."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from synerdiff.protocol.errors import SettingsError, Unauthorized

DEFAULT_TENANT = "default"
HASH_MARK = "sha256="
TENANT = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_bearer = HTTPBearer(auto_error=False, description="an API key; needed only where the gateway has keys")


class Keys:
    """The keys of all tenants, kept as SHA-256 hashes.

    ``pairs`` is ``tenant:key`` pairs with commas between; instead of a key, ``sha256=`` and its 64 hex digits
    may stand. A tenant may have several keys. Raises :class:`SettingsError`, which never shows a key.
    """

    def __init__(self, pairs: str = "") -> None:
        self._known = [_parse(pair) for pair in pairs.split(",") if pair.strip()]

    @property
    def required(self) -> bool:
        """Whether requests need a key."""
        return bool(self._known)

    def tenant(self, key: str | None) -> str | None:
        """The tenant of a key, or None; takes the same time whichever key matches."""
        digest = hashlib.sha256((key or "").encode(errors="surrogateescape")).digest()
        found: str | None = None
        for tenant, known in self._known:
            if hmac.compare_digest(digest, known) and key:
                found = tenant
        return found


def _parse(pair: str) -> tuple[str, bytes]:
    tenant, separator, key = pair.strip().partition(":")
    if not (separator and key and TENANT.fullmatch(tenant)):
        raise SettingsError("SYNERDIFF_API_KEYS must be tenant:key pairs with commas between", field="api_keys")
    if not key.startswith(HASH_MARK):
        return tenant, hashlib.sha256(key.encode()).digest()
    if not re.fullmatch(r"[0-9a-fA-F]{64}", key.removeprefix(HASH_MARK)):
        raise SettingsError(f"SYNERDIFF_API_KEYS: {HASH_MARK} must be followed by 64 hex digits", field="api_keys")
    return tenant, bytes.fromhex(key.removeprefix(HASH_MARK))


def tenant_of(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> str | None:
    """The tenant a request speaks for; None where the gateway has no keys (a FastAPI dependency).

    Raises :class:`Unauthorized` without a valid key.
    """
    keys: Keys = request.app.state.gateway.keys
    if not keys.required:
        return None
    tenant = keys.tenant(credentials.credentials if credentials else None)
    if tenant is None:
        raise Unauthorized("send a valid key as `Authorization: Bearer KEY`")
    return tenant


Tenant = Annotated[str | None, Depends(tenant_of)]
