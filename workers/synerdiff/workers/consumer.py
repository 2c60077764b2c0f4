"""Celery's consumer without the parts that read other workers' messages, and with a last line of defence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.consumer.consumer import logger

from synerdiff.workers.broker import turn_away


class Consumer(CeleryConsumer):  # type: ignore[misc]
    """Dead-letters what Celery itself cannot take, instead of logging its whole body or ending.

    Mingle and gossip are left out: workers agree through the ledger, and both would let a malformed message
    of another host end this one.
    """

    def __init__(self, *args: Any, worker_options: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        options = {**(worker_options or {}), "without_mingle": True, "without_gossip": True}
        super().__init__(*args, worker_options=options, **kwargs)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        """The stock handler; what it cannot take is turned away."""
        handle = super().create_task_handler(*args, **kwargs)
        passed_on = (*self.connection_errors, *self.channel_errors)

        def on_task_received(message: Any) -> None:
            try:
                handle(message)
            except passed_on:
                raise
            except Exception as error:
                self._reject(message, type(error).__name__)

        return on_task_received

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """A body that cannot be decoded."""
        self._reject(message, "undecodable")

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """A message that is no task."""
        self._reject(message, "unknown_message")

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """A task of another name."""
        self._reject(message, "unknown_task")

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """A task message of a wrong shape."""
        self._reject(message, "invalid_task")

    def _reject(self, message: Any, kind: str) -> None:
        body = message.body
        turn_away(kind, body if isinstance(body, bytes) else str(body).encode())
        message.reject_log_error(logger, self.connection_errors)
