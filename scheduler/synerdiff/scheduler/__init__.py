"""The scheduler service: load reader, plan writer, reconciler, leader lease, submissions from Celery."""

from synerdiff.scheduler.service import run_scheduler

__all__ = ["run_scheduler"]
