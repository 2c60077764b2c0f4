"""The Celery application as every service configures it; task bodies are the services' own."""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu.entity import Exchange, Queue

from synerdiff.ledger import SentinelAddress, sentinel_address

GENERATE = "synerdiff.generate"
SUBMIT = "synerdiff.submit"
QUEUE_SUBMIT = "synerdiff.submit"
CONNECT_TIMEOUT_S = 3.0
ANSWER_TIMEOUT_S = 10.0  # above the 1 s for which a consumer blocks in BRPOP


def queue_name(pool: str) -> str:
    """The queue that carries a pool's hints."""
    return f"synerdiff.{pool}"


def queue(name: str) -> Queue:
    """A direct queue: one Redis list, no priorities, since the ledger decides the order."""
    exchange = Exchange(name, type="direct")  # type: ignore[no-untyped-call]
    return Queue(name, exchange, routing_key=name)  # type: ignore[no-untyped-call]


class Application(Celery):  # type: ignore[misc]
    """A Celery application that knows the address of Redis as the settings give it."""

    redis_url = ""


def celery_app(redis_url: str, **settings: Any) -> Application:
    """The application at the address of Redis; ``settings`` override Celery's.

    JSON alone is accepted and no results are kept. Messages are acknowledged early: the ledger's lease, not
    Celery's visibility timeout, decides when a job runs again. Priorities are off, so a queue is one list.
    Raises :class:`LedgerUnavailable` for an address that is none.
    """
    address = sentinel_address(redis_url)
    broker = redis_url if address is None else address.celery_url
    app = Application("synerdiff", broker=broker, set_as_current=False)
    app.redis_url = redis_url
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        event_serializer="json",
        result_backend=None,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_acks_late=False,
        task_default_queue=QUEUE_SUBMIT,
        task_create_missing_queues=True,
        task_send_sent_event=False,
        worker_send_task_events=True,
        task_track_started=True,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=True,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "queue_order_strategy": "round_robin",
            "priority_steps": [0],
            "visibility_timeout": 3600,
            "socket_connect_timeout": CONNECT_TIMEOUT_S,
            "socket_timeout": ANSWER_TIMEOUT_S,
            "socket_keepalive": True,
            "health_check_interval": 15,
            **_sentinel_transport(address),
        },
        broker_use_ssl=dict(address.tls) if address is not None and address.tls is not None else None,
        **settings,
    )
    return app


def _sentinel_transport(address: SentinelAddress | None) -> dict[str, Any]:
    if address is None:
        return {}
    return {"master_name": address.master, "sentinel_kwargs": address.sentinel_options}
