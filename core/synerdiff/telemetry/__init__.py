"""Logs of every service: one line an event, JSON or console, with the job's id and never its prompt."""

from synerdiff.telemetry.logs import configure_logging, get_logger, job_context

__all__ = ["configure_logging", "get_logger", "job_context"]
