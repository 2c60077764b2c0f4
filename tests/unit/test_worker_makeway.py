"""Which jobs a full worker hands back, and for whom."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import pytest

from synerdiff.ledger import Ledger
from synerdiff.protocol import Job
from synerdiff.protocol.errors import LedgerUnavailable
from synerdiff.workers.bridge import Bridge
from synerdiff.workers.leases import Leases
from synerdiff.workers.makeway import MOST_ASIDES, ROOM, MakeWay, least_urgent
from synerdiff.workers.runs import GiveBack, Phase, Run

JOB = Job(id="job", model="m", prompt="cat", width=64, height=64, steps=2, seed=1)
FOR_ONE = GiveBack(ROOM)


def held(name: str, **fields: Any) -> Run:
    return Run(JOB.model_copy(update={"id": name}), 5, **{"phase": Phase.ACTIVE, "level": 3, **fields})


class Asked:
    """A ledger in which ``suspect`` waits to run alone; it notes what it is asked."""

    def __init__(self, suspect: str | None = None, *, urgent: bool = False) -> None:
        self.suspect = suspect
        self.urgent = urgent
        self.asked: list[str] = []
        self.loses = ""

    def set_aside(self, pool: str, worker: str, how: str) -> str | None:
        assert (pool, worker) == ("m", "w")
        self.asked.append(how)
        if how == self.loses:
            self.loses = ""
            raise LedgerUnavailable("the reply was lost")
        return self.suspect

    def make_way(self, *_: Any) -> bool:
        self.asked.append("urgent")
        return self.urgent


class Worker:
    """A worker with one place that looks when it is told to."""

    def __init__(self, ledger: Asked) -> None:
        self.ledger = ledger
        self.leases = Leases(cast(Ledger, ledger), cast(Bridge, None), worker="w", lease_s=8.0)
        self.sent: list[str] = []
        self.leaving = False
        self.ready = True
        self.look = MakeWay(
            cast(Ledger, ledger),
            self.leases,
            pool="m",
            worker="w",
            capacity=1,
            send_hints=self.sent.extend,
            leaving=lambda: self.leaving,
            ready=lambda: self.ready,
        ).look

    @contextmanager
    def holding(self, *runs: Run) -> Iterator[None]:
        with ExitStack() as stack:
            for run in runs:
                stack.enter_context(self.leases.holding(run))
            yield


def test_the_job_that_makes_way_is_the_least_urgent_with_the_least_to_lose() -> None:
    stays = [
        held("nine", level=9),
        held("alone", alone=True, level=1),
        held("often", asides=MOST_ASIDES, level=1),
        held("uploads", phase=Phase.UPLOADING, level=1),
        held("told", told_to_leave=True, level=1),
    ]
    assert least_urgent(stays) is None
    old, young = held("old", claimed_at=1.0), held("young", claimed_at=2.0)
    assert least_urgent([*stays, held("above", level=4), old, young]) is young
    waiting = held("waiting", phase=Phase.WAITING, claimed_at=0.0)
    assert least_urgent([old, young, waiting]) is waiting


def test_a_worker_with_a_free_place_asks_nothing() -> None:
    worker = Worker(Asked("suspect", urgent=True))
    worker.look()
    assert worker.ledger.asked == []


def test_a_full_worker_makes_room_for_a_suspect_that_waits_at_two_looks() -> None:
    worker, run = Worker(Asked("suspect", urgent=True)), held("run")
    with worker.holding(run):
        worker.look()
        assert (run.news.empty(), worker.sent) == (True, [])
        worker.look()
        assert (run.news.get_nowait(), worker.sent) == (FOR_ONE, ["suspect"])
    assert worker.ledger.asked == ["ask", "take"]


def test_one_that_was_taken_meanwhile_is_forgotten() -> None:
    worker, run = Worker(Asked("suspect")), held("run")
    with worker.holding(run):
        worker.look()
        worker.ledger.suspect = None
        worker.look()
        worker.ledger.suspect = "other"
        worker.look()
        assert run.news.empty()
    assert worker.ledger.asked == ["ask", "take", "urgent", "ask"]


def test_a_worker_set_aside_sends_the_hint_itself_until_it_has_the_job() -> None:
    """No scheduler is needed for it."""
    worker, run = Worker(Asked("suspect")), held("run")
    with worker.holding(run):
        for _ in range(3):
            worker.look()
        assert worker.sent == ["suspect"], "once while there are jobs here: it must be empty first"
    worker.look()
    worker.look()
    worker.ready = False
    worker.look()
    assert worker.sent == ["suspect"] * 3, "not while its engine is loaded again"
    worker.ready = True
    with worker.holding(held("suspect", alone=True)):
        worker.look()
    worker.ledger.suspect = "next"
    worker.look()
    assert worker.sent[3:] == ["next"]
    worker.ledger.suspect = None
    worker.look()
    worker.look()
    assert worker.sent[4:] == []
    assert worker.ledger.asked == ["ask", "take", *["still"] * 6]


def test_a_lost_reply_leaves_it_set_aside() -> None:
    worker, left, stays = Worker(Asked("suspect")), held("left"), held("stays", phase=Phase.WAITING)
    worker.ledger.loses = "take"
    with worker.holding(left):
        worker.look()
        with pytest.raises(LedgerUnavailable):
            worker.look()
    with worker.holding(stays):
        worker.look()
        assert (stays.news.get_nowait(), worker.sent) == (FOR_ONE, [])
    worker.look()
    assert worker.sent == ["suspect"]


def test_a_worker_that_only_stores_images_or_leaves_makes_no_room() -> None:
    worker = Worker(Asked("suspect", urgent=True))
    with worker.holding(held("stores", phase=Phase.UPLOADING)):
        worker.look()
    worker.leaving = True
    with worker.holding(held("works")):
        worker.look()
    assert worker.ledger.asked == []


def test_the_least_urgent_makes_way_for_a_more_urgent_one() -> None:
    worker, run = Worker(Asked(urgent=True)), held("run")
    with worker.holding(run):
        worker.look()
        assert run.news.get_nowait() == GiveBack("a more urgent job waited", how="aside")
        assert run.told_to_leave
