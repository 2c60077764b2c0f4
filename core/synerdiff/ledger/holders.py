"""What workers ask of the ledger: register, claim, renew, report, end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from synerdiff.ledger.base import Operations
from synerdiff.ledger.failures import translated
from synerdiff.ledger.record import read_job, read_traceparent
from synerdiff.ledger.scripts import Argument
from synerdiff.ledger.values import (
    Claim,
    Ended,
    HandBack,
    PlanningReport,
    RefusalReason,
    Refused,
    Renewal,
    WorkerReport,
)
from synerdiff.protocol import ErrorInfo, Job, JobEvent, JobResult

STRUCTURED = ("slot", "slots", "held")  # fields of a report that are stored as JSON
SPAN_ITEMS = 7
PLANNING_FIELDS = ("capacity", "profile_id", "device", "model_hash", "state", "slot")


class WorkerOperations(Operations):
    """Register, claim, renew, report, end."""

    def heartbeat(self, report: WorkerReport, ttl_s: float) -> tuple[str, ...]:
        """Register or refresh a worker; returns the jobs that its capacity released.

        It counts as alive for ``ttl_s`` seconds. One that is not ``ready`` adds no capacity.
        """
        capacity = report.capacity if report.state == "ready" else 0
        fields = report.model_dump(mode="json", exclude={"seen_at", *STRUCTURED})
        structures = report.model_dump(mode="json", include=set(STRUCTURED))
        fields |= {name: json.dumps(value) for name, value in structures.items()}
        flat: list[Argument] = [item for pair in fields.items() for item in pair]
        return tuple(self.scripts.run("heartbeat", report.name, report.pool, ttl_s, capacity, *flat))

    def deregister(self, worker: str) -> None:
        """A worker leaves in good order, having handed back its jobs."""
        self.scripts.run("deregister", worker)

    def planning_reports(self, pool: str) -> list[PlanningReport]:
        """Of the live workers' reports what planning needs, at a fiftieth of the cost of :meth:`workers`."""
        rows: list[list[str]] = json.loads(self.scripts.run("planning", pool, *PLANNING_FIELDS))
        return [
            PlanningReport(name, int(capacity), profile_id, device, model_hash, state == "ready", json.loads(slot))
            for name, capacity, profile_id, device, model_hash, state, slot in rows
        ]

    def workers(self, pool: str | None = None) -> list[WorkerReport]:
        """The last reports of the live workers, of all pools unless one is named."""
        names = [name for each in ([pool] if pool else self.pools()) for name in self.range_newest(f"workers:{each}")]
        pipe = self.client.pipeline(transaction=False)
        for name in names:
            pipe.hgetall(self.key("worker:" + name))
        with translated(self.client):
            hashes = [self.hash(raw) for raw in pipe.execute()]
        return [_report(fields) for fields in hashes if fields]

    def claim(self, job_id: str, *, worker: str, nonce: str, lease_s: float) -> Claim | Refused:
        """Take a released job, for ``lease_s`` seconds unless renewed.

        ``nonce`` is new for each hint: a claim sent again because its reply was lost gets the same answer.
        """
        answer = self.scripts.run("claim", job_id, worker, nonce, lease_s)
        if answer[0] == "refused":
            return Refused(cast(RefusalReason, answer[1]), tuple(answer[2]))
        _, document, token, attempts, alone, created_at, claimed_at, level, asides, kept, trial, clear = answer
        return Claim(
            job=read_job(document),
            token=int(token),
            attempts=int(attempts),
            alone=alone == "1",
            enqueued_at=float(created_at),
            claimed_at=float(claimed_at),
            level=int(level),
            asides=int(asides),
            kept=int(kept),
            traceparent=read_traceparent(document),
            trial=int(trial) if alone == "1" and trial.isdigit() else None,
            clear=_clear(trial, clear) if alone == "1" else None,
        )

    def renew(self, worker: str, leases: Mapping[str, int], lease_s: float) -> dict[str, Renewal]:
        """Prolong the leases of the jobs named (id to token), and only these, in one call."""
        if not leases:
            return {}
        flat: list[Argument] = [item for pair in leases.items() for item in pair]
        answers = self.scripts.run("renew", worker, lease_s, *flat)
        return {job_id: Renewal(answer) for job_id, answer in zip(leases, answers, strict=True)}

    def progress(self, job_id: str, token: int, event: JobEvent) -> bool:
        """Append an event to the job's stream; False if the token no longer holds the job."""
        return self.progress_many([(job_id, token, event)])[0]

    def progress_many(self, events: Sequence[tuple[str, int, JobEvent]]) -> list[bool]:
        """Like :meth:`progress` for many jobs in one call."""
        if not events:
            return []
        flat: list[Argument] = [
            item for job_id, token, event in events for item in (job_id, token, *_event_arguments(event))
        ]
        return [bool(held) for held in self.scripts.run("progress", *flat)]

    def finish(self, job_id: str, token: int, result: JobResult) -> Ended:
        """The job succeeded. Refused for an old token, after a cancellation, or past the deadline."""
        answer = self.scripts.run("end", job_id, token, "succeeded", "result", result.model_dump_json(), "")
        return self.ended(answer)

    def fail(self, job_id: str, token: int, error: ErrorInfo) -> Ended:
        """The job failed by its own fault: it is not tried again."""
        answer = self.scripts.run("end", job_id, token, "failed", "error", error.model_dump_json(), error.message)
        return self.ended(answer)

    def hand_back(self, job_id: str, token: int, reason: str, how: HandBack = "", step: int | None = None) -> Ended:
        """Give a job back to the queue, attempts untouched.

        ``crashed`` (the engine died or hung under it): it goes to quarantine, as after a worker's death, and if it
        ran alone that counts as an attempt; ``step`` says how far it was, which else its reports tell. ``aside``: it
        makes way for a more urgent job, and its priority rises by one. ``proven``: alone it got past its claim's
        ``trial``, and may have company again.
        """
        return self.ended(self.scripts.run("hand_back", job_id, token, reason, how, "" if step is None else step))

    def due_discards(self, pool: str, limit: int) -> list[Job]:
        """Jobs that ended without a result after they had begun: their images, if any, are to be deleted.

        Each is named again until :meth:`discarded`.
        """
        return [read_job(document) for document in self.scripts.run("discards", pool, limit)]

    def discarding(self, pool: str, job_id: str) -> bool:
        """Whether a job's images are still to be looked for: a worker may be storing one at this moment."""
        with translated(self.client):
            return self.client.zscore(self.key("discard:" + pool), job_id) is not None

    def discarded(self, pool: str, job_id: str) -> None:
        """A job's images are gone."""
        with translated(self.client):
            self.client.zrem(self.key("discard:" + pool), job_id)


def _event_arguments(event: JobEvent) -> tuple[Argument, ...]:
    image = "" if event.image is None else event.image
    data = json.dumps(event.data) if event.data else ""
    return event.kind, event.step, event.steps, image, event.message, data


def _report(fields: dict[str, str]) -> WorkerReport:
    structures = {name: json.loads(fields[name]) for name in STRUCTURED if fields.get(name)}
    values: dict[str, Any] = {name: value for name, value in fields.items() if name not in STRUCTURED} | structures
    values["slots"] = [span[:SPAN_ITEMS] for span in values.get("slots", [])]  # a newer worker may say more of each
    return WorkerReport.model_validate(values)


def _clear(trial: str, clear: str) -> int | None:
    """The step that ends a trial; one that an older service left beside a later trial says nothing."""
    known = trial.isdigit() and clear.isdigit() and int(clear) > int(trial) + 1
    return int(clear) if known else None
