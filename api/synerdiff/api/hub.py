"""One reader of Redis for any number of event streams.

A thread blocks on the streams of all watched jobs at once and hands what it read to the asyncio queues of the
jobs' followers, so three hundred open streams cost one Redis connection and no threads. It reads on when they have it:
what a gateway has no time for waits in Redis, which keeps about a hundred events of a job.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from synerdiff.protocol import JobEvent
from synerdiff.protocol.errors import LedgerUnavailable

log = logging.getLogger("synerdiff.api")
BLOCK_S = 0.2  # how late a new follower's first live event may be
RETRY_S = 0.5
RECHECK_S = 15.0
LOOK_S = 0.1  # how often a loop that does not take events is looked at
WAITING_EVENTS = 100  # about what a stream keeps
WAITING_PREVIEWS = 8

ReadMany = Callable[[Mapping[str, str], float, Mapping[str, str]], Sequence[tuple[str, JobEvent]]]
ReadOne = Callable[[str, str], Sequence[JobEvent]]
Ended = Callable[[str], bool]


@dataclass(eq=False, slots=True)
class _Follower:
    loop: asyncio.AbstractEventLoop
    previews: bool = False
    queue: asyncio.Queue[JobEvent] = field(default_factory=asyncio.Queue)
    behind: bool = False

    def put(self, event: JobEvent) -> None:
        """Queue an event for a client that may read slowly: previews go first; then all, and it reads the stream."""
        waiting = self.queue.qsize()
        if self.behind or (event.kind == "preview" and waiting >= WAITING_PREVIEWS):
            return
        if waiting >= WAITING_EVENTS:
            self.behind, self.queue = True, asyncio.Queue()
            return
        self.queue.put_nowait(event)


class EventHub:
    """Followers of jobs' events.

    ``read_many(after, block_s, previews)`` reads the streams of several jobs past an id each, and the previews of
    some, ``read_one`` one job's stream; ``ended`` tells whether a job's record is final or gone.
    """

    def __init__(self, read_many: ReadMany, read_one: ReadOne, ended: Ended) -> None:
        self._read_many, self._read_one, self._ended = read_many, read_one, ended
        self._lock = threading.Lock()
        self._followers: dict[str, set[_Follower]] = {}
        self._after: dict[str, str] = {}
        self._previews: dict[str, str] = {}
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="event-hub", daemon=True)

    def start(self) -> None:
        """Start the reader."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the reader and wait for it."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout=5.0)

    @property
    def followers(self) -> int:
        """How many streams are open."""
        with self._lock:
            return sum(len(group) for group in self._followers.values())

    async def follow(self, job_id: str, after: str = "0", *, previews: bool = False) -> AsyncIterator[JobEvent]:
        """A job's events past ``after``, to its end; its previews among them if wanted, which have no id.

        Following begins before the past is read, so nothing falls between; what comes twice is dropped by id.
        """
        follower = _Follower(asyncio.get_running_loop(), previews)
        self._join(job_id, follower)
        try:
            ended = await asyncio.to_thread(self._ended, job_id)  # before the past: what ended has all its events
            for event in await asyncio.to_thread(self._read_one, job_id, after):
                after = event.id
                yield event
                ended = ended or event.final
            while not ended:
                event_or_none = await self._next(follower)
                if event_or_none is None:
                    ended = await asyncio.to_thread(self._ended, job_id)
                    # The record may have ended a moment ago, with its last event still on the way here; and who fell
                    # behind goes on from the stream.
                    behind, follower.behind = follower.behind, False
                    for event in await asyncio.to_thread(self._read_one, job_id, after) if ended or behind else ():
                        after = event.id
                        yield event
                        ended = ended or event.final
                elif event_or_none.kind == "preview":
                    yield event_or_none
                elif _order(event_or_none.id) > _order(after):
                    after = event_or_none.id
                    yield event_or_none
                    ended = event_or_none.final
        finally:
            self._leave(job_id, follower)

    async def _next(self, follower: _Follower) -> JobEvent | None:
        if follower.behind:
            return None
        try:
            return await asyncio.wait_for(follower.queue.get(), RECHECK_S)
        except TimeoutError:
            return None

    def _join(self, job_id: str, follower: _Follower) -> None:
        with self._lock:
            self._followers.setdefault(job_id, set()).add(follower)
            # From the beginning, not from where this follower is: what it claims to have must not starve the next one.
            self._after.setdefault(job_id, "0")
            if follower.previews:
                self._previews.setdefault(job_id, "0")
        self._wake.set()

    def _leave(self, job_id: str, follower: _Follower) -> None:
        with self._lock:
            group = self._followers[job_id]
            group.discard(follower)
            if not any(other.previews for other in group):
                self._previews.pop(job_id, None)
            if not group:
                del self._followers[job_id], self._after[job_id]

    def _run(self) -> None:
        while not self._stopping.is_set():
            with self._lock:
                after, previews = dict(self._after), dict(self._previews)
            if not after:
                self._wake.wait(RETRY_S)
                self._wake.clear()
                continue
            try:
                self._read(after, BLOCK_S, previews)
            except LedgerUnavailable as error:
                log.warning("event streams wait for Redis: %s", error.message)
                self._stopping.wait(RETRY_S)
            except Exception:
                log.exception("event streams cannot be read together")
                self._read_apart(after, previews)
                self._stopping.wait(RETRY_S)

    def _read(self, after: Mapping[str, str], block_s: float, previews: Mapping[str, str]) -> None:
        found: defaultdict[asyncio.AbstractEventLoop, list[tuple[_Follower, JobEvent]]] = defaultdict(list)
        for job_id, event in self._read_many(after, block_s, previews):
            for follower, told in self._addressed(job_id, event):
                found[follower.loop].append((follower, told))
        for loop, events in found.items():
            self._hand_over(loop, events)

    def _read_apart(self, after: Mapping[str, str], previews: Mapping[str, str]) -> None:
        """Read each job by itself, so that one whose stream is damaged stops no other."""
        for job_id, last in after.items():
            try:
                self._read({job_id: last}, 0.0, {job_id: previews[job_id]} if job_id in previews else {})
            except LedgerUnavailable:
                return
            except Exception as error:
                log.warning("events of %s cannot be read: %s: %s", job_id, type(error).__name__, error)

    def _addressed(self, job_id: str, event: JobEvent) -> list[tuple[_Follower, JobEvent]]:
        """Who gets an event, and in what form; the next read is past it."""
        with self._lock:
            if job_id not in self._followers:
                return []
            preview = event.kind == "preview"
            if preview:
                self._previews[job_id] = event.id
                event = event.model_copy(update={"id": ""})  # a client that comes back goes on by the others' ids
            else:
                self._after[job_id] = event.id
            return [(follower, event) for follower in self._followers[job_id] if follower.previews or not preview]

    def _hand_over(self, loop: asyncio.AbstractEventLoop, events: Sequence[tuple[_Follower, JobEvent]]) -> None:
        """Queue events in their followers' loop, and wait until it has come to that: a busy loop gathers no calls."""
        taken = threading.Event()

        def take() -> None:
            for follower, event in events:
                follower.put(event)
            taken.set()

        try:
            loop.call_soon_threadsafe(take)
        except RuntimeError:  # closed, with all who followed in it
            return
        while not taken.wait(LOOK_S) and loop.is_running() and not self._stopping.is_set():
            pass


def _order(event_id: str) -> tuple[int, int]:
    """A stream id as numbers: ``milliseconds-sequence``."""
    time, _, sequence = event_id.partition("-")
    return int(time or 0), int(sequence or 0)
