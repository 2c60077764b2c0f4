"""Sends hints: Celery messages that carry a job's id, many in one Redis command."""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Sequence

import redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from synerdiff.dispatch.app import CONNECT_TIMEOUT_S, GENERATE, Application, queue_name
from synerdiff.ledger import open_client

BATCH = 500
ANSWER_TIMEOUT_S = 5.0
ID, TAG = "@id@", "@tag@"


def _template(app: Application, pool: str) -> str:
    """A hint as Celery and kombu's Redis transport would write it, with places for the id and a delivery tag.

    Celery makes the headers and body (message protocol 2), once for all hints of a pool instead of a
    millisecond of CPU for each. The body is left plain: kombu decodes only what ``body_encoding`` says.
    """
    message = app.amqp.as_task_v2(ID, GENERATE, [ID], {}, ignore_result=True, argsrepr=f"['{ID}']", kwargsrepr="{}")
    envelope = {
        "body": json.dumps(message.body),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": message.headers,
        "properties": {
            "correlation_id": ID,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue_name(pool)},
            "priority": 0,
            "delivery_tag": TAG,
        },
    }
    return json.dumps(envelope)


class Hints:
    """Sends hints through one connection pool; safe to use from several threads.

    A hint that cannot be sent is no error: the record stands, and the reconciler sends it again.
    """

    def __init__(self, app: Application) -> None:
        self._app = app
        self._client: redis.Redis = open_client(
            app.redis_url,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            socket_timeout=ANSWER_TIMEOUT_S,
            health_check_interval=15,
            retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 1),
        )
        self._templates: dict[str, str] = {}
        self._sender = secrets.token_hex(8)
        self._count = itertools.count()

    def send(self, pool: str, job_ids: Sequence[str]) -> tuple[str, ...]:
        """Send a hint for each job; returns the ids whose hints could not be sent."""
        failed: list[str] = []
        for start in range(0, len(job_ids), BATCH):
            batch = job_ids[start : start + BATCH]
            try:
                self._client.lpush(queue_name(pool), *(self._message(pool, job_id) for job_id in batch))
            except RedisError:
                failed += batch
        return tuple(failed)

    def waiting(self, pool: str) -> int:
        """Hints that lie in the pool's queue; 0 where that cannot be asked."""
        try:
            return int(self._client.llen(queue_name(pool)))
        except RedisError:
            return 0

    def _message(self, pool: str, job_id: str) -> str:
        template = self._templates.get(pool)
        if template is None:
            template = self._templates[pool] = _template(self._app, pool)
        return template.replace(ID, job_id).replace(TAG, f"{self._sender}-{next(self._count)}")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
