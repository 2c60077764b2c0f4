"""Delivers due webhooks: what is due is in Redis, so nothing is lost with a gateway, and several may share the work."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from synerdiff.api.keys import DEFAULT_TENANT
from synerdiff.api.webhooks import message
from synerdiff.api.webhooks.delivery import Answer, deliver
from synerdiff.api.webhooks.message import Secrets
from synerdiff.api.webhooks.target import Refused, Rules
from synerdiff.client.backend import Backend
from synerdiff.client.images import with_urls
from synerdiff.protocol import Delivery, FieldError, JobView
from synerdiff.protocol.errors import InvalidJob, LedgerUnavailable, StorageUnavailable

log = logging.getLogger("synerdiff.api")

POLL_S = 0.5
AT_ONCE = 32
FIRST_RETRY_S = 5.0
RETRY_FACTOR = 4.0
LONGEST_RETRY_S = 4 * 3600.0


def retry_after(attempts: int, most: int) -> float | None:
    """Seconds from the ``attempts``-th failed attempt to the next: 5 s, 20 s, 80 s ... 4 h; None after ``most``."""
    if attempts >= most:
        return None
    wait_s: float = min(LONGEST_RETRY_S, FIRST_RETRY_S * RETRY_FACTOR ** (attempts - 1))
    return wait_s * random.uniform(0.9, 1.1)


class Webhooks:
    """The task that delivers webhooks of one gateway."""

    def __init__(self, backend: Backend, rules: Rules, secrets: Secrets) -> None:
        self._backend = backend
        self._rules = rules
        self._secrets = secrets
        self._timeout_s = backend.settings.webhook_timeout_s
        self._most = backend.settings.webhook_attempts

    def check(self, fields: Mapping[str, Any]) -> None:
        """Refuse a job whose webhook could never be delivered. Raises :class:`InvalidJob`."""
        url, tenant = fields.get("webhook"), fields.get("tenant")
        if not isinstance(url, str):
            return
        try:
            self._rules.check(httpx.URL(url))
        except (Refused, httpx.InvalidURL) as error:
            raise _wrong(f"webhook cannot be called: {error}; got {url[:60]!r}") from None
        if self._secrets.of(tenant if isinstance(tenant, str) else DEFAULT_TENANT) is None:
            raise _wrong("webhook needs a signing secret, and none is set for this tenant (SYNERDIFF_WEBHOOK_SECRETS)")

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            try:
                ids = await asyncio.to_thread(self._backend.ledger.due_webhooks, AT_ONCE, 2 * self._timeout_s + 10)
            except LedgerUnavailable as error:
                log.warning("webhooks wait for Redis: %s", error.message)
                ids = ()
            await asyncio.gather(*(self._attempt(job_id) for job_id in ids))
            if len(ids) < AT_ONCE:
                await asyncio.sleep(POLL_S)

    async def _attempt(self, job_id: str) -> None:
        """One attempt; what fails here is tried again when the lease of the webhook is over."""
        try:
            found = await asyncio.to_thread(self._backend.ledger.webhook_of, job_id)
            if found is None or not found[0].job.webhook:
                await asyncio.to_thread(self._backend.ledger.forget_webhook, job_id)
                return
            view, ended = found
            answer = await self._deliver(view)
            attempts = len(view.deliveries) + 1
            next_s = None if answer.final else retry_after(attempts, self._most)
            attempt = Delivery(
                at=time.time(), status=answer.status, reason=answer.reason, duration_s=answer.duration_s, next_s=next_s
            )
            await asyncio.to_thread(self._backend.ledger.webhook_attempt, job_id, ended, attempt, next_s)
            log.info("webhook of %s: attempt %d, status %s %s", job_id, attempts, answer.status, answer.reason)
        except (LedgerUnavailable, StorageUnavailable) as error:
            log.warning("webhook of %s not tried: %s", job_id, error.message)

    async def _deliver(self, view: JobView) -> Answer:
        signer = self._secrets.of(view.job.tenant)
        if signer is None:
            return Answer(None, "not called: no signing secret is set for this tenant", 0.0, refused=True)
        text = await asyncio.to_thread(message.body, view, self._with_urls)
        headers = message.headers(view, text, signer, datetime.now(tz=UTC))
        return await deliver(view.job.webhook or "", text, headers, self._rules, self._timeout_s)

    def _with_urls(self, view: JobView) -> JobView:
        return with_urls(view, self._backend.store, self._backend.settings.presign_expiry_s)


def _wrong(message: str) -> InvalidJob:
    return InvalidJob([FieldError(field="webhook", message=message)])
