"""One reader serves every follower, and nothing is lost or doubled between the past and the live stream."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import cast

import pytest
from redis.exceptions import ResponseError

from synerdiff.api.hub import WAITING_EVENTS, WAITING_PREVIEWS, EventHub, _Follower
from synerdiff.protocol import JobEvent
from synerdiff.protocol.errors import LedgerUnavailable
from tests.support import until


class Streams:
    """Event streams in memory that count how they are read."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.events: dict[str, list[JobEvent]] = {}
        self.pictures: dict[str, JobEvent] = {}
        self.readers: set[int] = set()
        self.failures = 0
        self.damaged: set[str] = set()

    def add(self, job_id: str, kind: str, step: int = 0) -> None:
        with self.changed:
            stream = self.events.setdefault(job_id, [])
            stream.append(JobEvent.model_validate({"id": f"{len(stream) + 1}-0", "kind": kind, "step": step}))
            self.changed.notify_all()

    def read_many(
        self, after: Mapping[str, str], block_s: float, previews: Mapping[str, str]
    ) -> list[tuple[str, JobEvent]]:
        self.readers.add(threading.get_ident())
        if self.failures:
            self.failures -= 1
            raise LedgerUnavailable("away")
        if self.damaged & set(after):
            raise ResponseError("WRONGTYPE")
        with self.changed:
            self.changed.wait_for(lambda: any(self._past(job_id, at) for job_id, at in after.items()), block_s)
            pictures = [(job_id, self.pictures.pop(job_id)) for job_id in previews if job_id in self.pictures]
            return pictures + [(job_id, event) for job_id, at in after.items() for event in self._past(job_id, at)]

    def read_one(self, job_id: str, after: str) -> list[JobEvent]:
        with self.changed:
            return self._past(job_id, after)

    def ended(self, job_id: str) -> bool:
        with self.changed:
            return any(event.final for event in self.events.get(job_id, []))

    def _past(self, job_id: str, after: str) -> list[JobEvent]:
        return [event for event in self.events.get(job_id, []) if int(event.id[:-2]) > int(after.split("-")[0])]


@pytest.fixture
def streams() -> Streams:
    return Streams()


@pytest.fixture
def hub(streams: Streams) -> Iterator[EventHub]:
    hub = EventHub(streams.read_many, streams.read_one, streams.ended)
    hub.start()
    yield hub
    hub.stop()


async def _kinds(hub: EventHub, job_id: str, after: str = "0") -> list[str]:
    return [f"{event.kind}{event.step}" async for event in hub.follow(job_id, after)]


def test_the_past_is_told_to_its_end(hub: EventHub, streams: Streams) -> None:
    for kind in ("queued", "started", "succeeded"):
        streams.add("a", kind)
    assert asyncio.run(_kinds(hub, "a")) == ["queued0", "started0", "succeeded0"]
    assert asyncio.run(_kinds(hub, "a", "2-0")) == ["succeeded0"]
    assert hub.followers == 0


def test_many_followers_of_many_jobs_share_one_reader(hub: EventHub, streams: Streams) -> None:
    def read_up_to(jobs: list[str], step: int) -> bool:
        return all(hub._after[job_id] == f"{step + 1}-0" for job_id in jobs)

    async def run() -> list[list[str]]:
        jobs = [f"job{index}" for index in range(30)]
        for job_id in jobs:
            streams.add(job_id, "queued")
        tasks = [asyncio.create_task(_kinds(hub, job_id)) for job_id in jobs for _ in range(3)]
        await until(lambda: hub.followers == 90 and streams.readers)
        for step in range(1, 6):
            for job_id in jobs:
                streams.add(job_id, "step", step)
            await until(partial(read_up_to, jobs, step))
        for job_id in jobs:
            streams.add(job_id, "succeeded")
        return await asyncio.gather(*tasks)

    expected = ["queued0", *(f"step{step}" for step in range(1, 6)), "succeeded0"]
    assert asyncio.run(run()) == [expected] * 90
    assert len(streams.readers) == 1


def test_a_late_follower_of_a_watched_job_gets_its_past(hub: EventHub, streams: Streams) -> None:
    async def run() -> list[str]:
        streams.add("a", "queued")
        first = asyncio.create_task(_kinds(hub, "a"))
        await until(lambda: streams.readers)
        streams.add("a", "started")
        late = asyncio.create_task(_kinds(hub, "a"))
        await until(lambda: hub.followers == 2)
        streams.add("a", "succeeded")
        assert await first == await late
        return await late

    assert asyncio.run(run()) == ["queued0", "started0", "succeeded0"]


def test_previews_come_to_those_who_asked_and_carry_no_id(hub: EventHub, streams: Streams) -> None:
    seen: dict[bool, list[str]] = {True: [], False: []}

    async def follow(wanted: bool) -> None:
        async for event in hub.follow("a", previews=wanted):
            seen[wanted].append(event.id)

    async def run() -> None:
        streams.add("a", "started")
        both = [asyncio.create_task(follow(wanted)) for wanted in seen]
        await until(lambda: all(seen.values()))
        streams.pictures["a"] = JobEvent(id="9-0", kind="preview")
        streams.add("a", "step", 1)
        await until(lambda: all("2-0" in each for each in seen.values()))
        streams.add("a", "succeeded")
        await asyncio.gather(*both)

    asyncio.run(run())
    assert seen == {True: ["1-0", "", "2-0", "3-0"], False: ["1-0", "2-0", "3-0"]}


@pytest.mark.parametrize("many", [WAITING_EVENTS // 2, 3 * WAITING_EVENTS])
def test_a_slow_follower_is_bounded_and_misses_no_event(hub: EventHub, streams: Streams, many: int) -> None:
    seen: list[str] = []
    waiting: list[int] = []

    def read(step: int) -> bool:
        return not streams.pictures and hub._after["a"] == f"{step + 1}-0"

    async def run() -> None:
        streams.add("a", "queued")
        events = hub.follow("a", previews=True)
        seen.append((await anext(events)).kind)
        for step in range(1, many + 1):  # none of these is read
            streams.pictures["a"] = JobEvent(id=f"{step}-1", kind="preview")
            streams.add("a", "step", step)
            await until(partial(read, step))
            [follower] = hub._followers["a"]
            waiting.append(follower.queue.qsize())
        streams.add("a", "succeeded")
        seen.extend([f"{event.kind}{event.step}" async for event in events])

    asyncio.run(run())
    assert max(waiting) <= WAITING_EVENTS
    assert len([kind for kind in seen if kind == "preview0"]) <= WAITING_PREVIEWS
    told = [kind for kind in seen if kind != "preview0"]
    assert told == ["queued", *(f"step{step}" for step in range(1, many + 1)), "succeeded0"]


class BusyLoop:
    """A loop that takes what it is called for only when it is looked at for the third time; or never, once stopped."""

    def __init__(self, *, stopped: bool = False) -> None:
        self.calls: list[Callable[[], object]] = []
        self.looks = 0
        self.stopped = stopped

    def call_soon_threadsafe(self, callback: Callable[[], object]) -> None:
        self.calls.append(callback)

    def is_running(self) -> bool:
        self.looks += 1
        if self.looks == 3:
            self.calls[0]()
        return not self.stopped


@pytest.mark.parametrize("stopped", [False, True])
def test_what_waits_for_a_busy_loop_is_one_read(
    streams: Streams, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    monkeypatch.setattr("synerdiff.api.hub.LOOK_S", 0.001)
    hub = EventHub(streams.read_many, streams.read_one, streams.ended)
    loop = BusyLoop(stopped=stopped)
    followers = [_Follower(cast(asyncio.AbstractEventLoop, loop)) for _ in range(2)]
    for follower in followers:
        hub._join("a", follower)
    for step in range(1, 51):
        streams.add("a", "step", step)

    hub._read(hub._after, 0.0, {})

    assert (len(loop.calls), loop.looks) == (1, 1 if stopped else 3)
    assert [follower.queue.qsize() for follower in followers] == ([0, 0] if stopped else [50, 50])


def test_a_follower_that_leaves_is_forgotten(hub: EventHub, streams: Streams) -> None:
    async def run() -> None:
        task = asyncio.create_task(_kinds(hub, "a"))
        await until(lambda: hub.followers == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert hub.followers == 0


def test_the_stream_goes_on_when_redis_is_back(
    hub: EventHub, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synerdiff.api.hub.RETRY_S", 0.01)
    streams.failures = 3

    async def run() -> list[str]:
        task = asyncio.create_task(_kinds(hub, "a"))
        await until(lambda: not streams.failures)
        streams.add("a", "cancelled")
        return await task

    assert asyncio.run(run()) == ["cancelled0"]


def test_a_job_that_ended_without_an_event_ends_its_stream(
    hub: EventHub, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synerdiff.api.hub.RECHECK_S", 0.01)
    monkeypatch.setattr(hub, "_ended", _later(True))
    assert asyncio.run(_kinds(hub, "a")) == []


def test_the_last_event_is_told_though_the_reader_is_late(
    hub: EventHub, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synerdiff.api.hub.RECHECK_S", 0.01)
    monkeypatch.setattr(hub, "_read_many", lambda *_: [])
    seen: list[str] = []

    async def follow() -> None:
        async for event in hub.follow("a"):
            seen.append(event.kind)  # noqa: PERF401 - looked at while it grows

    async def run() -> None:
        streams.add("a", "queued")
        task = asyncio.create_task(follow())
        await until(lambda: seen)
        streams.add("a", "step", 1)
        streams.add("a", "succeeded")
        await task

    asyncio.run(run())
    assert seen == ["queued", "step", "succeeded"]


def test_a_job_whose_stream_cannot_be_read_stops_no_other(
    hub: EventHub, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synerdiff.api.hub.RETRY_S", 0.01)
    streams.damaged = {"bad"}

    async def run() -> list[str]:
        bad = asyncio.create_task(_kinds(hub, "bad"))
        good = asyncio.create_task(_kinds(hub, "good"))
        await until(lambda: hub.followers == 2)
        for step in range(1, 4):
            streams.add("good", "step", step)
        streams.add("good", "succeeded")
        found = await good
        bad.cancel()
        return found

    assert asyncio.run(run()) == ["step1", "step2", "step3", "succeeded0"]


def test_a_follower_that_claims_to_be_far_ahead_starves_no_other(hub: EventHub, streams: Streams) -> None:
    async def run() -> list[str]:
        ahead = asyncio.create_task(_kinds(hub, "a", f"{2**64 - 1}-0"))
        await until(lambda: streams.readers)
        other = asyncio.create_task(_kinds(hub, "a"))
        await until(lambda: hub.followers == 2)
        streams.add("a", "started")
        streams.add("a", "succeeded")
        found = await other
        ahead.cancel()
        return found

    assert asyncio.run(run()) == ["started0", "succeeded0"]


def _later(answer: bool) -> object:
    answers = iter([False, False])
    return lambda _: next(answers, answer)
