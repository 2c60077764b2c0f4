"""Running a worker from Python: what ``synerdiff worker`` calls."""

from __future__ import annotations

from synerdiff.settings import Settings
from synerdiff.telemetry import configure_logging
from synerdiff.workers.celeryapp import build_app


def run_worker(settings: Settings) -> int:
    """Serve jobs until SIGTERM or SIGINT; the process's exit code.

    0 after an orderly stop, 2 when it cannot start (the log says why in a sentence), 3 when its device fails
    again and again.
    """
    configure_logging(settings.log_level, settings.log_format)
    controller = build_app(settings).Worker(quiet=True, loglevel=settings.log_level)
    controller.start()
    return int(controller.exitcode or 0)
