"""Flower, started on our Celery app."""

from __future__ import annotations

import os

from synerdiff.settings import Settings

# Opens Flower's API, which can stop workers, to whoever reaches the port.
UNSAFE = "FLOWER_UNAUTHENTICATED_API"
COLUMNS = "name,uuid,state,result,runtime,worker"


def run_flower(settings: Settings) -> int:
    """Run Flower until it is stopped; returns the exit code.

    The broker's address and the password stay in this process: arguments of a process are visible to all.
    """
    from synerdiff.dispatch.app import celery_app

    os.environ.pop(UNSAFE, None)
    app = celery_app(settings.redis_url)
    app.start(flower_arguments(settings))
    return 0


def flower_arguments(settings: Settings) -> list[str]:
    arguments = ["flower", f"--address={settings.flower_host}", f"--port={settings.flower_port}"]
    arguments.append(f"--tasks-columns={COLUMNS}")
    if settings.flower_basic_auth is not None:
        arguments.append(f"--basic-auth={settings.flower_basic_auth.get_secret_value()}")
    return arguments
