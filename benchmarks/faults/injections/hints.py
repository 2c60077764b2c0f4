"""Faults of Celery messages: tripled, lost, malformed."""

from __future__ import annotations

import time

from benchmarks.faults.bench import Bench, fault
from synerdiff.dispatch import queue_name
from synerdiff.protocol import Job
from tests.worker_messages import MALFORMED

JOBS = 4


@fault("every hint published three times")
def hints_tripled(bench: Bench) -> set[str]:
    """Two more hints for every open job, while more jobs come."""
    hit: set[str] = set()
    for _ in range(JOBS):
        ids = bench.history.open()
        for _ in range(2):
            bench.hints.send(bench.fleet.pool, ids)
        hit |= set(ids)
        time.sleep(0.3)
    return hit


@fault("hint never published")
def hints_lost(bench: Bench) -> set[str]:
    """Jobs whose producer died between record and hint, and an emptied queue."""
    hit: set[str] = set()
    for _ in range(JOBS):
        job = Job(model="tiny-emoji", width=128, height=128, **bench.load.fields())
        bench.ledger.submit(job, bench.fleet.pool)
        bench.history.accept(job.id, job.tenant)
        hit.add(job.id)
    bench.admin.delete(queue_name(bench.fleet.pool))
    bench.wait(lambda: not hit & set(bench.history.open()), 90)
    return hit


@fault("malformed messages of every kind")
def malformed(bench: Bench) -> None:
    """Each kind of message that is no hint, and nonsense on Celery's control channels."""
    for _, message in MALFORMED.values():
        bench.admin.lpush(queue_name(bench.fleet.pool), message)
    for channel in ("/0.celery.pidbox", "/0.celeryev/worker.heartbeat"):
        for text in ("no json", "[]", "{}", '{"properties": {}, "body": 7}'):
            bench.admin.publish(channel, text)
    bench.malformed += len(MALFORMED)
    bench.wait(lambda: bench.admin.llen(queue_name(bench.fleet.pool)) == 0, 30)
