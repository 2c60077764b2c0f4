"""Delivers due webhooks: what is due is in Redis, so nothing is lost with a gateway, and several may share the work."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from weakref import WeakValueDictionary

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
AT_ONCE = 128
AT_ONCE_PER_TENANT = 16
TURN_S = 5.0  # how long a webhook waits for its tenant's others before it is put off
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

    def __init__(
        self, backend: Backend, rules: Rules, secrets: Secrets, attempted: Callable[[str], None] | None = None
    ) -> None:
        self._backend = backend
        self._rules = rules
        self._secrets = secrets
        self._attempted = attempted or (lambda outcome: None)  # delivered, put_off or given_up
        self._timeout_s = backend.settings.webhook_timeout_s
        self._most = backend.settings.webhook_attempts
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def check(self, fields: Mapping[str, Any]) -> None:
        """Refuse a job whose webhook could never be delivered. Raises :class:`InvalidJob`."""
        url, tenant = fields.get("webhook"), fields.get("tenant")
        if not isinstance(url, str):
            return
        try:
            self._rules.check(httpx.URL(url))
        except (Refused, httpx.InvalidURL, ValueError) as error:
            raise _wrong(f"webhook cannot be called: {error}; got {url[:60]!r}") from None
        if self._secrets.of(tenant if isinstance(tenant, str) else DEFAULT_TENANT) is None:
            raise _wrong("webhook needs a signing secret, and none is set for this tenant (SYNERDIFF_WEBHOOK_SECRETS)")

    async def run(self) -> None:
        """Deliver until cancelled, whatever else happens. A slow receiver holds up no other tenant's webhooks."""
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                free = AT_ONCE - len(running)
                ids = await self._due(free)
                for job_id in ids:
                    task = asyncio.create_task(self._attempt(job_id))
                    running.add(task)
                    task.add_done_callback(running.discard)
                if len(ids) < free:
                    await asyncio.sleep(POLL_S)
                else:
                    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _due(self, most: int) -> tuple[str, ...]:
        lease_s = 2 * self._timeout_s + TURN_S + 10
        try:
            return await asyncio.to_thread(self._backend.ledger.due_webhooks, most, lease_s)
        except LedgerUnavailable as error:
            log.warning("webhooks wait for Redis: %s", error.message)
        except Exception:
            log.exception("what webhooks are due cannot be read")
        return ()

    async def _attempt(self, job_id: str) -> None:
        """One attempt; what fails here is tried again when the lease of the webhook is over."""
        try:
            found = await asyncio.to_thread(self._backend.ledger.webhook_of, job_id)
            if found is None or not found[0].job.webhook:
                await asyncio.to_thread(self._backend.ledger.forget_webhook, job_id)
                return
            await self._in_turn(*found)
        except (LedgerUnavailable, StorageUnavailable) as error:
            log.warning("webhook of %s not tried: %s", job_id, error.message)
        except Exception:
            log.exception("webhook of %s not tried", job_id)

    async def _in_turn(self, view: JobView, ended: str) -> None:
        """The attempt, unless its tenant's others take all of the tenant's places for too long: then it is put off."""
        turn = self._turns.setdefault(view.job.tenant, asyncio.Semaphore(AT_ONCE_PER_TENANT))
        try:
            async with asyncio.timeout(TURN_S):
                await turn.acquire()
        except TimeoutError:
            return
        try:
            await self._tell(view, ended)
        finally:
            turn.release()

    async def _tell(self, view: JobView, ended: str) -> None:
        answer = await self._deliver(view)
        attempts = len(view.deliveries) + 1
        next_s = None if answer.final else retry_after(attempts, self._most)
        attempt = Delivery(
            at=time.time(), status=answer.status, reason=answer.reason, duration_s=answer.duration_s, next_s=next_s
        )
        await asyncio.to_thread(self._backend.ledger.webhook_attempt, view.id, ended, attempt, next_s)
        self._attempted("delivered" if answer.delivered else "given_up" if next_s is None else "put_off")
        log.info("webhook of %s: attempt %d, status %s %s", view.id, attempts, answer.status, answer.reason)

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
