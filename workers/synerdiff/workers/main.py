"""Running a worker from Python: what ``synerdiff worker`` calls."""

from __future__ import annotations

import os
import warnings

from celery.platforms import SecurityWarning

from synerdiff.settings import Settings
from synerdiff.telemetry import configure_logging
from synerdiff.workers.celeryapp import build_app
from synerdiff.workers.messages import EngineSpec


def hub_environment(settings: Settings) -> dict[str, str]:
    """What the hub's library reads when it is imported: whether to ask the hub at all, and whom to trust."""
    found = {"HF_HUB_OFFLINE": "1"} if settings.offline else {}
    if settings.ca_file:
        found |= {"SSL_CERT_FILE": settings.ca_file, "REQUESTS_CA_BUNDLE": settings.ca_file}
    return found


def run_worker(settings: Settings, spec: EngineSpec | None = None) -> int:
    """Serve jobs until SIGTERM or SIGINT; the process's exit code. ``spec`` replaces the engine (tests).

    0 after an orderly stop, 2 when it cannot start (the log says why in a sentence), 3 when its device fails
    again and again; 143 where it was told to leave at once, or could not leave in time: then the whole process ends,
    so run nothing else in it.
    """
    # Celery warns root of pickled messages; this worker takes JSON of one shape and nothing else.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    configure_logging(settings.log_level, settings.log_format)
    os.environ.update(hub_environment(settings))  # the engine's process inherits it
    controller = build_app(settings, spec).Worker(quiet=True, loglevel=settings.log_level)
    controller.start()
    return int(controller.exitcode or 0)
