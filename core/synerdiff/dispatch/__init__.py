"""Celery's part: the application's configuration and the sending of hints. No task bodies."""

from synerdiff.dispatch.app import GENERATE, QUEUE_SUBMIT, SUBMIT, celery_app, queue, queue_name
from synerdiff.dispatch.hints import Hints

__all__ = ["GENERATE", "QUEUE_SUBMIT", "SUBMIT", "Hints", "celery_app", "queue", "queue_name"]
