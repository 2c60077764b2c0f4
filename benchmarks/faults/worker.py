"""A worker as its command runs it, with the bench's engine in its engine process."""

from __future__ import annotations

import dataclasses
import sys

from synerdiff.settings import load
from synerdiff.workers.main import run_worker
from synerdiff.workers.worker import engine_spec

FACTORY = "benchmarks.faults.engine:build"  # not imported: torch belongs into the engine process


def main() -> int:
    """Serve until stopped."""
    settings = load()
    return run_worker(settings, dataclasses.replace(engine_spec(settings), factory=FACTORY))


if __name__ == "__main__":
    sys.exit(main())
