"""A job's events as a follower gets them: what the stream has, with the job's expectations put in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from sse_starlette import ServerSentEvent
from starlette.concurrency import run_in_threadpool

from synerdiff.api.context import Gateway
from synerdiff.protocol import JobEvent, JobView
from synerdiff.protocol.errors import LedgerUnavailable

QUEUE_NEWS_S = 5.0


async def sent(
    gateway: Gateway, view: JobView, after: str, *, previews: bool = False
) -> AsyncIterator[ServerSentEvent]:
    """The events of a job past ``after``, for the wire. One that the stream does not hold has no id."""
    async for event in expected(gateway, view, after, previews=previews):
        yield ServerSentEvent(event.model_dump_json(), event=event.kind, id=event.id or None)


async def expected(gateway: Gateway, view: JobView, after: str, *, previews: bool = False) -> AsyncIterator[JobEvent]:
    """The events of a job with ``position`` and ``eta_s`` in their data; while it is queued, news of these."""
    events = aiter(gateway.hub.follow(view.id, after, previews=previews))
    upcoming = asyncio.ensure_future(anext(events, None))
    queued, told = not view.state.final and view.started_at is None, ""
    try:
        while True:
            await asyncio.wait([upcoming], timeout=QUEUE_NEWS_S if queued else None)
            if not upcoming.done():
                event = await _with_expectation(gateway, view, JobEvent(kind="queued", at=time.time()))
                if event.data.get("position", told) != told:
                    told = event.data["position"]
                    yield event
                continue
            found = upcoming.result()
            if found is None:
                return
            upcoming = asyncio.ensure_future(anext(events, None))
            if found.kind == "preview":
                yield found
                continue
            queued = found.kind in ("queued", "requeued")
            found = await _with_expectation(gateway, view, found)
            told = found.data.get("position", "")
            yield found
    finally:
        upcoming.cancel()


async def _with_expectation(gateway: Gateway, view: JobView, event: JobEvent) -> JobEvent:
    """The event with what the job may expect; without, where that cannot be told."""
    try:
        if event.kind in ("queued", "requeued"):
            found = await run_in_threadpool(gateway.outlook.queued, view.job)
        elif event.kind == "step":
            at_hand = gateway.outlook.at_hand(view.job, event.step)
            ask = gateway.outlook.running
            found = at_hand if at_hand is not None else await run_in_threadpool(ask, view.job, event.step)
        else:
            return event
    except LedgerUnavailable:
        return event
    return event.model_copy(update={"data": {**event.data, **found.data()}})
