"""The task that delivers webhooks outlives what goes wrong, and no tenant takes every place."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from synerdiff.api.webhooks import Rules, Secrets, Webhooks, service
from synerdiff.api.webhooks.delivery import Answer
from synerdiff.client.backend import Backend
from synerdiff.protocol import Delivery, Job, JobState, JobView
from synerdiff.protocol.errors import LedgerUnavailable
from synerdiff.settings import Settings


class Queue:
    """The ledger's webhooks in memory; an id of ``broken`` has a record that cannot be read."""

    def __init__(self, *jobs: Job) -> None:
        self.jobs = {job.id: job for job in jobs}
        self.due = list(self.jobs)
        self.errors: list[Exception] = []
        self.broken: set[str] = set()
        self.done: list[str] = []

    def due_webhooks(self, limit: int, lease_s: float) -> tuple[str, ...]:
        if self.errors:
            raise self.errors.pop()
        taken, self.due = self.due[:limit], self.due[limit:]
        return tuple(taken)

    def webhook_of(self, job_id: str) -> tuple[JobView, str]:
        if job_id in self.broken:
            raise KeyError("state")
        return JobView(id=job_id, state=JobState.SUCCEEDED, job=self.jobs[job_id]), "1.0"

    def webhook_attempt(self, job_id: str, ended: str, attempt: Delivery, next_s: float | None) -> bool:
        self.done.append(job_id)
        return True


def _jobs(tenant: str, count: int) -> list[Job]:
    return [Job(prompt="p", tenant=tenant, webhook=f"https://{tenant}.example/") for _ in range(count)]


def _run(queue: Queue, done: Callable[[], bool], attempted: Callable[[str], None] | None = None) -> None:
    """Deliver until ``done``."""
    backend = cast(Backend, SimpleNamespace(settings=Settings(), ledger=queue))
    webhooks = Webhooks(backend, Rules(), Secrets(), attempted)

    async def run() -> None:
        task = asyncio.create_task(webhooks.run())
        until = time.monotonic() + 60
        while not done():
            assert not task.done(), task.exception()
            assert time.monotonic() < until, queue.done
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    asyncio.run(run())


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "POLL_S", 0.001)


def test_the_task_outlives_every_error(monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = _jobs("red", 2)
    broken = Job(prompt="p", webhook="https://x.example/")
    queue = Queue(bad, broken, good)
    queue.broken = {broken.id}
    queue.errors = [LedgerUnavailable("away"), RuntimeError("a reply that makes no sense")]

    async def deliver(webhooks: Webhooks, view: JobView) -> Answer:
        if view.id == bad.id:
            raise ValueError("a bug")
        return Answer(200, "", 0.0)

    monkeypatch.setattr(Webhooks, "_deliver", deliver)
    _run(queue, lambda: queue.done == [good.id])


def test_attempts_are_counted_by_what_came_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = {job.id: status for job, status in zip(_jobs("red", 3), (204, 500, 410), strict=True)}
    queue = Queue(*(Job(prompt="p", id=job_id, webhook="https://red.example/") for job_id in statuses))
    counted: list[str] = []

    async def deliver(webhooks: Webhooks, view: JobView) -> Answer:
        return Answer(statuses[view.id], "", 0.0)

    monkeypatch.setattr(Webhooks, "_deliver", deliver)
    _run(queue, lambda: len(counted) == 3, counted.append)
    assert sorted(counted) == ["delivered", "given_up", "put_off"]


def test_a_tenant_whose_receivers_hang_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, quick = _jobs("slow", 60), _jobs("quick", 40)
    queue = Queue(*slow, *quick)
    hanging: list[Any] = []

    async def deliver(webhooks: Webhooks, view: JobView) -> Answer:
        if view.job.tenant == "slow":
            hanging.append(view.id)
            await asyncio.Event().wait()
        return Answer(200, "", 0.0)

    monkeypatch.setattr(Webhooks, "_deliver", deliver)
    _run(queue, lambda: len(queue.done) == len(quick))
    assert set(queue.done) == {job.id for job in quick}
    assert len(hanging) <= service.AT_ONCE_PER_TENANT


def test_places_that_a_hanging_tenant_waits_for_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "TURN_S", 0.02)
    slow, (quick,) = _jobs("slow", service.AT_ONCE + 40), _jobs("quick", 1)
    queue = Queue(*slow, quick)

    async def deliver(webhooks: Webhooks, view: JobView) -> Answer:
        if view.job.tenant == "slow":
            await asyncio.Event().wait()
        return Answer(200, "", 0.0)

    monkeypatch.setattr(Webhooks, "_deliver", deliver)
    _run(queue, lambda: queue.done == [quick.id])


def test_lookups_do_not_use_the_threads_of_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []

    def getaddrinfo(*args: Any, **kwargs: Any) -> list[Any]:
        names.append(threading.current_thread().name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    asyncio.run(Rules().resolve(httpx.URL("https://example.com/")))
    assert names[0].startswith("webhook-lookup")
