"""What a webhook says, and its signature by the Standard Webhooks scheme (https://www.standardwebhooks.com)."""

from __future__ import annotations

import binascii
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook

from synerdiff.protocol import JobView
from synerdiff.protocol.errors import SettingsError

EVERYBODY = "*"


class Secrets:
    """Signing secrets by tenant: ``tenant:secret`` pairs with commas between, ``*`` for every other tenant.

    A secret is ``whsec_`` and base 64 of 24 to 64 random bytes. Raises :class:`SettingsError`, which shows none.
    """

    def __init__(self, pairs: str = "") -> None:
        self._known: dict[str, Webhook] = {}
        for pair in filter(None, (part.strip() for part in pairs.split(","))):
            tenant, separator, secret = pair.partition(":")
            try:
                if not (separator and tenant and 24 <= len(_bytes(secret)) <= 64):
                    raise ValueError
                self._known[tenant] = Webhook(secret)
            except (ValueError, RuntimeError, binascii.Error):
                message = "SYNERDIFF_WEBHOOK_SECRETS must be tenant:whsec_SECRET pairs (24 to 64 bytes in base 64)"
                raise SettingsError(message, field="webhook_secrets") from None

    def of(self, tenant: str) -> Webhook | None:
        """The signer of a tenant's webhooks, None where there is no secret for it."""
        return self._known.get(tenant) or self._known.get(EVERYBODY)


def _bytes(secret: str) -> bytes:
    if not secret.startswith("whsec_"):
        raise ValueError("whsec_")
    return binascii.a2b_base64(secret.removeprefix("whsec_"), strict_mode=True)


def body(view: JobView, with_urls: Callable[[JobView], JobView]) -> str:
    """The message about an ended job: nothing private, so no prompt; images come with presigned URLs."""
    shown = with_urls(view) if view.images else view
    data: dict[str, Any] = shown.model_dump(mode="json", include={"id", "state", "error", "timings", "images"})
    data |= {"tenant": view.job.tenant, "metadata": view.job.metadata}
    ended = datetime.fromtimestamp(view.finished_at or 0.0, tz=UTC)
    return json.dumps({"type": f"job.{view.state.value}", "timestamp": ended.isoformat(), "data": data})


def headers(view: JobView, text: str, signer: Webhook, at: datetime) -> dict[str, str]:
    """The headers of one attempt; the id stays the same over all attempts."""
    message_id = f"msg_{view.id}_{round((view.finished_at or 0.0) * 1e6)}"
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signer.sign(message_id, at, text),
        "user-agent": "SynerDiff-Webhooks/1",
    }
