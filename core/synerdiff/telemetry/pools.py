"""Prometheus metrics of the queue, read from the ledger's counters at each scrape."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from synerdiff.ledger import Ledger, PoolLoad
from synerdiff.protocol.errors import LedgerUnavailable

GAUGES = {
    "synerdiff_pool_open_jobs": ("Jobs that are not in a final state: the queue's depth", "open"),
    "synerdiff_pool_queued_jobs": ("Jobs that nobody runs: waiting, released or in quarantine", "queued"),
    "synerdiff_pool_released_jobs": ("Queued jobs that a worker may claim now", "released"),
    "synerdiff_pool_quarantined_jobs": ("Jobs that were in flight in a crash and wait to run alone", "quarantined"),
    "synerdiff_pool_running_jobs": ("Jobs that a worker holds a lease of", "running"),
    "synerdiff_pool_capacity_jobs": ("Jobs that the pool's live workers hold at most", "capacity"),
    "synerdiff_pool_workers": ("Workers that are alive", "workers"),
    "synerdiff_pool_paused": ("1 while the pool is paused", "paused"),
    "synerdiff_pool_oldest_job_age_seconds": ("Age of the oldest open job", "oldest_age_s"),
}


class Pools(Collector):
    """The load of every pool. A Redis that is away is a metric (``synerdiff_ledger_up``), not an error."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def describe(self) -> list[Metric]:
        """Nothing: so that registering needs no Redis."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        try:
            loads = [self._ledger.load(pool) for pool in self._ledger.pools()]
            letters = self._ledger.dead_letter_count()
        except LedgerUnavailable:
            yield GaugeMetricFamily("synerdiff_ledger_up", _UP, value=0)
            return
        yield GaugeMetricFamily("synerdiff_ledger_up", _UP, value=1)
        yield GaugeMetricFamily("synerdiff_dead_letters", "Malformed messages that are kept to be looked at", letters)
        yield from _gauges(loads)
        yield _ended(loads)
        submitted = CounterMetricFamily("synerdiff_pool_submitted_jobs", "Jobs that were submitted", labels=["pool"])
        for load in loads:
            submitted.add_metric([load.pool], load.totals.get("submitted", 0))
        yield submitted


def _gauges(loads: list[PoolLoad]) -> Iterator[Metric]:
    for name, (help_text, field) in GAUGES.items():
        family = GaugeMetricFamily(name, help_text, labels=["pool"])
        for load in loads:
            value = load.queued + load.running if field == "open" else getattr(load, field)
            family.add_metric([load.pool], float(value))
        yield family


def _ended(loads: list[PoolLoad]) -> Metric:
    family = CounterMetricFamily(
        "synerdiff_pool_ended_jobs", "Jobs that came to a final state", labels=["pool", "state"]
    )
    for load in loads:
        for state in ("succeeded", "failed", "cancelled", "expired", "dead"):
            family.add_metric([load.pool, state], load.totals.get(state, 0))
    return family


_UP = "1 when Redis answered this scrape"
