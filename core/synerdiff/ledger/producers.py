"""What producers and operators ask of the ledger: submit, look, cancel, retry, delete, list."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from itertools import islice

from synerdiff.ledger.base import Operations
from synerdiff.ledger.failures import LedgerFull, translated
from synerdiff.ledger.record import fingerprint, job_document, read_view
from synerdiff.ledger.scripts import Argument, pairs
from synerdiff.ledger.values import Deleted, Ended, Submission
from synerdiff.protocol import Job, JobState, JobView
from synerdiff.protocol.errors import IdempotencyConflict, JobNotFound, Overloaded, WrongState

BATCH = 200
RECENT = 10_000
READ_BATCH = 100


class ProducerOperations(Operations):
    """Submit, look, cancel, retry, delete, list."""

    def submit(self, job: Job, pool: str, *, idempotency_key: str | None = None, traceparent: str = "") -> Submission:
        """Write a job's record and release what the pool has room for.

        The same id, or the same tenant and key, with the same fields gives the first answer again with
        ``created`` False. Raises :class:`Overloaded`, :class:`IdempotencyConflict`, :class:`LedgerUnavailable`.
        """
        return self._submit([job], pool, [idempotency_key or ""], traceparent)[0]

    def submit_many(self, jobs: Sequence[Job], pool: str, *, traceparent: str = "") -> list[Submission]:
        """Like :meth:`submit` for many jobs, in one round trip per 200, each of which is taken whole or not at all.

        The first submission of a batch carries its released ids. After an error send all again: ids make that safe.
        """
        answers: list[Submission] = []
        for start in range(0, len(jobs), BATCH):
            batch = jobs[start : start + BATCH]
            answers += self._submit(batch, pool, [""] * len(batch), traceparent)
        return answers

    def _submit(self, jobs: Sequence[Job], pool: str, keys: Sequence[str], traceparent: str) -> list[Submission]:
        config = self.config
        args: list[Argument] = [pool, secrets.token_hex(4), config.max_queue, config.max_queue_per_tenant]
        args += [config.arrival_horizon_s, RECENT]
        for job, key in zip(jobs, keys, strict=True):
            args += self._job_arguments(job, key, traceparent)
        try:
            answer = self.scripts.run("submit", *args)
        except LedgerFull as error:
            raise Overloaded(str(error), retry_after_s=config.retry_after_s) from error
        if answer[0] == "conflict":
            raise IdempotencyConflict(f"{answer[1]} {answer[2]!r} was already used with other fields")
        if answer[0] == "overloaded":
            message = f"the queue of {answer[1]} is full: {answer[2]} jobs are open; try again later"
            field = "tenant" if answer[1].startswith("tenant ") else None
            raise Overloaded(message, retry_after_s=config.retry_after_s, field=field)
        ids, created, released = answer[1][::2], answer[1][1::2], tuple(answer[2])
        return [
            Submission(job_id, bool(made), released if i == 0 else ())
            for i, (job_id, made) in enumerate(zip(ids, created, strict=True))
        ]

    def _job_arguments(self, job: Job, key: str, traceparent: str) -> list[Argument]:
        share = job.cost / self.config.tenant_weights.get(job.tenant, 1.0)
        deadline_s: Argument = "" if job.deadline_s is None else job.deadline_s
        document = job_document(job, traceparent)
        return [job.id, document, fingerprint(job), job.tenant, job.priority, job.cost, share, deadline_s, key]

    def take_token(self, tenant: str, rate: float, burst: int) -> float:
        """Take one of a tenant's requests, ``rate`` a second and ``burst`` at once; the seconds to wait, 0 if taken."""
        return float(self.scripts.run("take_token", tenant, rate, burst))

    def get(self, job_id: str) -> JobView | None:
        """The job as its owner sees it, or None."""
        return self.get_many([job_id])[0]

    def get_many(self, ids: Iterable[str]) -> list[JobView | None]:
        """The jobs of ``ids`` in their order, in one round trip; None for those without a record."""
        wanted = list(ids)
        pipe = self.client.pipeline(transaction=False)
        for job_id in wanted:
            pipe.hgetall(self.key("job:" + job_id))
        with translated(self.client):
            records = pipe.execute()
        return [read_view(job_id, self.hash(record)) for job_id, record in zip(wanted, records, strict=True)]

    def position(self, job_id: str) -> int | None:
        """How many jobs are expected to start before a queued one; None for a job that is not queued."""
        found = int(self.scripts.run("position", job_id))
        return None if found < 0 else found

    def cancel(self, job_id: str) -> Ended:
        """End a job for good, wherever it is; not accepted if it ended otherwise before.

        Raises :class:`JobNotFound`.
        """
        ended = self.ended(self.scripts.run("cancel", job_id))
        if ended.state is None:
            raise JobNotFound(f"there is no job {job_id}")
        return ended

    def retry(self, job_id: str) -> Submission:
        """Queue a dead or failed job again, with fresh attempts.

        A job that is open again already is answered with ``created`` False. Raises :class:`JobNotFound`,
        :class:`WrongState`.
        """
        answer = self.scripts.run("retry", job_id)
        if answer[0] == "unknown":
            raise JobNotFound(f"there is no job {job_id}")
        if answer[0] == "wrong":
            raise WrongState(f"job {job_id} is {answer[1]}; only dead and failed jobs can be retried")
        return Submission(job_id, bool(answer[1]), tuple(answer[2]))

    def delete(self, job_id: str) -> Deleted:
        """Remove a record, cancelling the job if it is open."""
        fields, released = self.scripts.run("delete", job_id)
        return Deleted(read_view(job_id, pairs(fields)), tuple(released))

    def list_jobs(
        self,
        *,
        state: JobState | None = None,
        pool: str | None = None,
        tenant: str | None = None,
        limit: int = 100,
        among: int = RECENT,
    ) -> list[JobView]:
        """Jobs, newest first (running ones by their leases): those that match among each pool's newest ``among``.

        No more than 10,000 of a pool are looked at.
        """
        found = (
            view
            for view in self._views(self._candidates(state, pool, among))
            if state in (None, view.state) and tenant in (None, view.job.tenant)
        )
        return list(islice(found, limit))

    def _candidates(self, state: JobState | None, pool: str | None, among: int) -> list[str]:
        if state is JobState.DEAD and pool is None:
            return [job_id for job_id, _ in self.range_scored("jobs:dead", among)]
        open_kinds = {JobState.RUNNING: "leases:", JobState.QUEUED: "jobs:open:"}
        kind = "jobs:recent:" if state is None else open_kinds.get(state, "jobs:recent:")
        pools = [pool] if pool is not None else self.pools()
        scored = [item for name in pools for item in self.range_scored(kind + name, among)]
        return [job_id for job_id, _ in sorted(scored, key=lambda item: -item[1])]

    def _views(self, ids: Sequence[str]) -> Iterable[JobView]:
        for start in range(0, len(ids), READ_BATCH):
            yield from filter(None, self.get_many(ids[start : start + READ_BATCH]))
