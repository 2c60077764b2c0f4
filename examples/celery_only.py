"""Enqueue a job from a service that has Celery and nothing of SynerDiff.

The task ``synerdiff.submit`` takes a job's fields; the scheduler service validates them and writes the record.
Choose the id yourself: sending the same job again then changes nothing, and the id is how you find it later
(``GET /v1/jobs/{id}`` at the gateway).

    SYNERDIFF_REDIS_URL=redis://127.0.0.1:6379/0 python examples/celery_only.py
"""

from __future__ import annotations

import os
import uuid

from celery import Celery

app = Celery(broker=os.environ.get("SYNERDIFF_REDIS_URL", "redis://127.0.0.1:6379/0"))


def submit(**fields: object) -> str:
    """Send one job and return its id."""
    job_id = str(fields.setdefault("id", f"order-{uuid.uuid4().hex}"))
    app.send_task("synerdiff.submit", kwargs=fields, queue="synerdiff.submit", ignore_result=True)
    return job_id


if __name__ == "__main__":
    print(submit(prompt="a red apple", steps=10))
