"""What must hold once everything has ended; each check returns one sentence for every breach."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import boto3
import redis

from benchmarks.faults.fleet import Fleet
from benchmarks.faults.history import Accepted, History
from synerdiff.ledger import Ledger
from synerdiff.protocol import JobEvent, JobState, JobView
from synerdiff.protocol.errors import ObjectNotFound
from synerdiff.storage import Store, StoreConfig, read_receipt
from tests.ledger_audit import audit

Breaches = Iterator[str]


class End:
    """The state of everything at the end of a run."""

    def __init__(self, fleet: Fleet, history: History, ledger: Ledger, admin: redis.Redis, malformed: int) -> None:
        self.fleet, self.history, self.ledger, self.admin, self.malformed = fleet, history, ledger, admin, malformed
        self.store = Store(StoreConfig.of(fleet.settings))
        ids = list(history.jobs)
        self.views: dict[str, JobView | None] = dict(zip(ids, ledger.get_many(ids), strict=True))
        self.events: dict[str, list[JobEvent]] = {job_id: ledger.events(job_id) for job_id in ids}

    def jobs(self) -> Iterator[tuple[Accepted, JobView]]:
        """The accepted jobs that have a record."""
        for job_id, view in self.views.items():
            if view is not None:
                yield self.history.jobs[job_id], view

    def objects(self) -> set[str]:
        """Every key in the bucket."""
        access = self.fleet.s3.access
        client = boto3.client(
            "s3",
            endpoint_url=access.endpoint,
            aws_access_key_id=access.access_key,
            aws_secret_access_key=access.secret_key,
            region_name="us-east-1",
        )
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=access.bucket)
        return {item["Key"] for page in pages for item in page.get("Contents", [])}


def every_job_ended(end: End) -> Breaches:
    """Every accepted job has a record, at a final state that is right for it."""
    for job_id, view in end.views.items():
        if view is None:
            yield f"{job_id} was accepted and has no record"
        elif not view.state.final:
            yield f"{job_id} is still {view.state.value}"
        elif view.state not in end.history.jobs[job_id].right:
            reason = view.error.message if view.error else ""
            yield f"{job_id} ended {view.state.value}: {reason}"


def ended_once(end: End) -> Breaches:
    """Every job's events hold one end, it is the record's, and nothing comes after it."""
    for job, view in end.jobs():
        kinds = [event.kind for event in end.events[job.id]]
        finals = [event.kind for event in end.events[job.id] if event.final]
        if finals != [view.state.value] or kinds[-1:] != finals:
            yield f"{job.id} is {view.state.value}, its events end {kinds[-3:]}, with ends {finals}"
    yield from end.history.changed


def unsure_submits(end: End) -> Breaches:
    """A submit that never got an answer either stored nothing or a job that ended."""
    unsure = sorted(end.history.unsure)
    for job_id, view in zip(unsure, end.ledger.get_many(unsure), strict=True):
        if view is not None and not view.state.final:
            yield f"{job_id}, whose submit had no answer, is still {view.state.value}"


def images_match(end: End) -> Breaches:
    """A success has as many images as asked for; each object's sha256, receipt and seed are the record's."""
    for job, view in end.jobs():
        if view.state is not JobState.SUCCEEDED:
            continue
        if len(view.images) != view.job.n:
            yield f"{job.id} has {len(view.images)} images of {view.job.n}"
        for index, image in enumerate(view.images):
            try:
                data = end.store.get(image.key)
            except ObjectNotFound:
                yield f"{image.key} is in the record and not in S3"
                continue
            receipt = read_receipt(data)
            if hashlib.sha256(data).hexdigest() != image.sha256:
                yield f"{image.key} has another sha256 than its record"
            if receipt is None or receipt.job_id != job.id or receipt.request.get("seed") != view.job.seed + index:
                yield f"{image.key} has a wrong receipt"


def no_orphans(end: End) -> Breaches:
    """Every object belongs to a success."""
    unsure = [view for view in end.ledger.get_many(sorted(end.history.unsure)) if view is not None]
    named = {image.key for view in [*[view for _, view in end.jobs()], *unsure] for image in view.images}
    states = {view.id: view.state.value for _, view in end.jobs()}
    for key in sorted(end.objects() - named):
        yield f"{key} belongs to no result; its job is {states.get(key.split('/')[-2], 'unknown')}"


def indexes_true(end: End) -> Breaches:
    """Every index and counter says what the records say; nothing is held by the dead."""
    try:
        audit(end.admin, end.fleet.pool)
    except AssertionError as error:
        yield f"an index or counter is wrong: {str(error)[:300]}"
    for pattern in (f"leases:{end.fleet.pool}", "inflight:*", f"alone:{end.fleet.pool}", f"jobs:open:{end.fleet.pool}"):
        for key in end.admin.scan_iter(f"synerdiff:{pattern}"):
            yield f"{key} is left over"
    alive = {report.name for report in end.fleet.reports(end.ledger).values()}
    registered = {name for name, _ in end.ledger.range_scored(f"workers:{end.fleet.pool}")}
    if registered != alive:
        yield f"registered workers {sorted(registered)}, alive {sorted(alive)}"


def totals_add_up(end: End) -> Breaches:
    """The pool's totals are the number of records."""
    totals = dict(end.ledger.load(end.fleet.pool).totals)
    unsure = [view for view in end.ledger.get_many(sorted(end.history.unsure)) if view is not None]
    counted = Counter(view.state.value for view in [*[view for _, view in end.jobs()], *unsure])
    expected = {"submitted": sum(counted.values()), **counted}
    if {name: number for name, number in totals.items() if number} != expected:
        yield f"totals are {totals}, records say {expected}"


def dead_letters_kept(end: End) -> Breaches:
    """Every malformed message is with the dead letters, up to the number that is kept."""
    kept = len(end.ledger.dead_letters(1000))
    if kept < min(end.malformed, 1000):
        yield f"{end.malformed} malformed messages, {kept} kept"


def logs_keep_secrets(end: End) -> Breaches:
    """No log and no record holds a credential, no log a prompt."""
    secret, prompts = end.fleet.s3.access.secret_key, ("a red apple", "a blue car", "a green tree", "poison")
    for path in sorted((end.fleet.directory / "logs").glob("*.log")):
        text = path.read_text(errors="replace")
        if secret in text:
            yield f"{path.name} holds the secret key"
        yield from (f"{path.name} holds a prompt: {prompt}" for prompt in prompts if prompt in text)
    for job, view in end.jobs():
        if secret in view.model_dump_json() or any(secret in event.message for event in end.events[job.id]):
            yield f"the record of {job.id} holds the secret key"


LOST = "every accepted job ended, in a right way"
DOUBLED = "each ended once, and stayed so"
LEFT_OVER = (
    "submits without an answer left nothing open",
    "no orphan objects",
    "indexes and counters true, nothing held by the dead",
)

INVARIANTS: Mapping[str, Callable[[End], Breaches]] = {
    LOST: every_job_ended,
    DOUBLED: ended_once,
    LEFT_OVER[0]: unsure_submits,
    "images match records, sha256 and receipts": images_match,
    LEFT_OVER[1]: no_orphans,
    LEFT_OVER[2]: indexes_true,
    "totals add up": totals_add_up,
    "malformed messages kept": dead_letters_kept,
    "no secret and no prompt in logs and records": logs_keep_secrets,
}


def judge(end: End) -> dict[str, list[str]]:
    """The breaches of each invariant."""
    return {name: list(check(end)) for name, check in INVARIANTS.items()}
