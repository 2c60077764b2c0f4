"""Whether a part of the fleet is ready, asked from outside."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable

from synerdiff.protocol.errors import Unavailable

Probe = Callable[[], bool]


def answers(url: str) -> Probe:
    """A probe: does a GET of ``url`` succeed?"""

    def probe() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - our own server
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    return probe


def worker_ready(redis_url: str, pool: str, pid: int) -> Probe:
    """A probe: has the worker of this process registered with its pool, ready to take jobs?"""
    from synerdiff.ledger import Ledger

    ledger = Ledger.connect(redis_url)

    def probe() -> bool:
        try:
            reports = ledger.workers(pool)
        except Unavailable:
            return False
        return any(report.pid == pid and report.state == "ready" for report in reports)

    return probe


def scheduler_ready(redis_url: str, pool: str) -> Probe:
    """A probe: has the scheduler written a plan for a worker of the pool?"""
    from synerdiff.ledger import Ledger

    ledger = Ledger.connect(redis_url)

    def probe() -> bool:
        try:
            return any(ledger.get_plan(pool, report.profile_id) for report in ledger.workers(pool))
        except Unavailable:
            return False

    return probe
