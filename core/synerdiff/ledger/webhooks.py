"""Webhooks that are due, and what became of each attempt."""

from __future__ import annotations

from synerdiff.ledger.base import Operations
from synerdiff.ledger.failures import translated
from synerdiff.ledger.record import read_view
from synerdiff.ledger.scripts import text
from synerdiff.protocol import Delivery, JobView


class WebhookOperations(Operations):
    """The queue of webhooks: the script that ends a job with a webhook adds it."""

    def due_webhooks(self, limit: int, lease_s: float) -> tuple[str, ...]:
        """Ids of ended jobs whose webhook is due now; for ``lease_s`` seconds nobody else is given them."""
        return tuple(self.scripts.run("due_webhooks", limit, lease_s))

    def webhook_of(self, job_id: str) -> tuple[JobView, str] | None:
        """An ended job, and when it ended as :meth:`webhook_attempt` takes it; None if it is gone or open."""
        with translated(self.client):
            record = self.hash(self.client.hgetall(self.key("job:" + job_id)))
        view = read_view(job_id, record)
        return (view, record.get("finished_at", "")) if view is not None and view.state.final else None

    def webhook_attempt(self, job_id: str, ended: str, attempt: Delivery, next_s: float | None) -> bool:
        """Record an attempt; the next is due in ``next_s`` seconds (None: there is none). False if nobody needs it."""
        wait: float | str = "" if next_s is None else next_s
        return bool(self.scripts.run("webhook_attempt", job_id, ended, attempt.model_dump_json(), wait))

    def forget_webhook(self, job_id: str) -> None:
        """Take a job's webhook out of the queue."""
        with translated(self.client):
            self.client.zrem(self.key("webhooks"), job_id)

    def webhooks_waiting(self) -> int:
        """How many webhooks are still to be delivered."""
        with translated(self.client):
            return int(text(self.client.zcard(self.key("webhooks"))))
