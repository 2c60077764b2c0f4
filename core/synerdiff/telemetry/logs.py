"""structlog and the standard library's logging through one formatter."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TextIO

import structlog
from structlog.typing import Processor

from synerdiff.telemetry.redact import escape_control, hide_private

LogFormat = Literal["json", "console"]
NOISY = ("botocore", "boto3", "urllib3", "s3transfer", "filelock", "httpx", "kombu", "amqp", "PIL")


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        hide_private,
    ]


def _rendering(log_format: LogFormat) -> list[Processor]:
    if log_format == "json":
        return [structlog.processors.JSONRenderer(ensure_ascii=True, default=str)]
    plain = structlog.dev.plain_traceback
    return [escape_control, structlog.dev.ConsoleRenderer(colors=False, exception_formatter=plain)]


def configure_logging(level: str = "INFO", log_format: LogFormat = "console", stream: TextIO | None = None) -> None:
    """Send every log line of the process to ``stream`` (standard error), one event a line.

    Lines of libraries that use :mod:`logging`, Celery's too, take the same form. Values with control
    characters are escaped, so no prompt or header can forge a line.
    """
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared(),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(log_format)],
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger that takes an event and key-value pairs: ``log.info("job ended", state="failed")``."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


@contextmanager
def job_context(job_id: str) -> Iterator[None]:
    """Put ``job_id`` on every line that this thread logs inside the block."""
    with structlog.contextvars.bound_contextvars(job_id=job_id):
        yield
