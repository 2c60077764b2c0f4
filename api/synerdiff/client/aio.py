"""The asynchronous client: the same operations, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, Unpack

from synerdiff.client import outcome
from synerdiff.client.client import Client
from synerdiff.client.fields import JobFields, JobOptions
from synerdiff.client.pace import Pace
from synerdiff.protocol import JobEvent, JobView, ModelEntry
from synerdiff.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")
THREADS = 16


class AsyncClient:
    """:class:`Client` for asyncio. Each call runs in a small pool of threads; waiting holds none of them.

    Methods, errors and units are those of :class:`Client`.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.sync = Client(settings)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="synerdiff-client")

    async def submit(self, prompt: str, *, idempotency_key: str | None = None, **fields: Unpack[JobOptions]) -> str:
        """See :meth:`Client.submit`."""
        call = partial(self.sync.backend.submit, {**fields, "prompt": prompt}, idempotency_key)
        return (await self._run(call)).id

    async def submit_many(self, jobs: Sequence[JobFields | Mapping[str, Any]]) -> list[str]:
        """See :meth:`Client.submit_many`."""
        return await self._run(self.sync.submit_many, jobs)

    async def get(self, job_id: str, *, urls: bool = False) -> JobView:
        """See :meth:`Client.get`."""
        return await self._run(self.sync.get, job_id, urls=urls)

    async def wait(self, job_id: str, timeout_s: float | None = None, *, urls: bool = False) -> JobView:
        """See :meth:`Client.wait`."""
        (view,) = await self.wait_many([job_id], timeout_s, urls=urls)
        return outcome.succeeded(view)

    async def wait_many(
        self, job_ids: Sequence[str], timeout_s: float | None = None, *, urls: bool = False
    ) -> list[JobView]:
        """See :meth:`Client.wait_many`."""
        pace = Pace(timeout_s)
        open_ids: Sequence[str] = list(dict.fromkeys(job_ids))
        while open_ids:
            views = await self._run(self.sync.backend.views, open_ids)
            open_ids = [job_id for job_id in open_ids if not views[job_id].state.final]
            if open_ids and pace.over:
                raise outcome.timed_out(views[open_ids[0]], pace.timeout_s)
            if open_ids:
                await asyncio.sleep(pace.next_s())
        return await self._run(self.sync.wait_many, job_ids, urls=urls)

    async def events(
        self, job_id: str, *, after: str = "0", timeout_s: float | None = None, previews: bool = False
    ) -> AsyncIterator[JobEvent]:
        """See :meth:`Client.events`."""
        pace = Pace(timeout_s)
        seen = "0" if previews else None
        while True:
            view = await self._run(self.sync.backend.view, job_id)
            ended = view.state.final
            for event in await self._run(self.sync.backend.ledger.events, job_id, after, 0.0, seen):
                if event.kind == "preview":
                    seen = event.id
                else:
                    after = event.id
                pace.reset()
                yield event
                ended = ended or event.final
            if ended:
                return
            if pace.over:
                raise outcome.timed_out(view, pace.timeout_s)
            await asyncio.sleep(pace.next_s())

    async def cancel(self, job_id: str) -> JobView:
        """See :meth:`Client.cancel`."""
        return await self._run(self.sync.cancel, job_id)

    async def delete(self, job_id: str) -> JobView:
        """See :meth:`Client.delete`."""
        return await self._run(self.sync.delete, job_id)

    async def download(self, job_id: str, directory: str | Path = ".") -> list[Path]:
        """See :meth:`Client.download`."""
        return await self._run(self.sync.download, job_id, directory)

    async def models(self) -> list[ModelEntry]:
        """See :meth:`Client.models`."""
        return await self._run(self.sync.models)

    async def close(self) -> None:
        """See :meth:`Client.close`."""
        await self._run(self.sync.close)
        self._threads.shutdown(wait=False)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(call, *args, **kwargs))
