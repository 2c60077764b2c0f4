"""The scheduler's Prometheus metrics; units are in the names."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from synerdiff.ledger import Ledger, Reaped
from synerdiff.telemetry.exposition import OK
from synerdiff.telemetry.pools import Pools

TICK_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
MISSED_TICKS = 30
LONGEST_TICK_S = 60.0
STUCK_S = 120.0  # above what calls to a Redis that does not answer may take
_WHY = {"requeued": "lease_lapsed", "quarantined": "worker_died"}


class SchedulerMetrics:
    """What a scheduler counts; :meth:`live` and :meth:`ready` answer its probes."""

    def __init__(self, ledger: Ledger, tick_s: float) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(Pools(ledger))
        registry = self.registry
        labels = ["pool", "profile"]
        self._leader = Gauge("synerdiff_scheduler_leader", "1 while this scheduler leads", registry=registry)
        self._ticks = Histogram(
            "synerdiff_scheduler_tick_seconds", "Time a tick took", buckets=TICK_BUCKETS_S, registry=registry
        )
        self._failed = Counter("synerdiff_scheduler_failed_ticks", "Ticks that found no Redis", registry=registry)
        self._hints = Counter("synerdiff_hints_resent", "Hints sent again", ["pool"], registry=registry)
        self._reruns = Counter(
            "synerdiff_reruns", "Jobs that go back to the queue after a start", ["pool", "reason"], registry=registry
        )
        self._lapsed = Counter("synerdiff_leases_lapsed", "Leases that ran out", ["pool"], registry=registry)
        self._lost = Counter("synerdiff_workers_lost", "Workers that fell silent", ["pool"], registry=registry)
        self._unreaped = Gauge(
            "synerdiff_unreaped_pools", "Pools that the leading scheduler could not reap last time", registry=registry
        )
        self._theta = Gauge(
            "synerdiff_planned_theta_ratio", "Throughput threshold in force; NaN: auto", labels, registry=registry
        )
        self._cap = Gauge(
            "synerdiff_planned_batch_cap_samples", "Most samples in a UNet call", labels, registry=registry
        )
        self._skip = Gauge(
            "synerdiff_planned_skip_above_jobs", "Jobs above which balanced samples may skip", labels, registry=registry
        )
        self._version = Gauge("synerdiff_planned_version", "Version of the plan in force", labels, registry=registry)
        self._shown: set[tuple[str, str]] = set()  # pools and profiles with a plan's figures
        self._patience_s = max(MISSED_TICKS * tick_s, LONGEST_TICK_S)
        self._turned_at = time.monotonic()
        self._failing = "no tick yet"
        self._not_reaped = 0
        self._intake_silence: Callable[[], float | None] = lambda: 0.0

    def follow(self, intake_silence: Callable[[], float | None]) -> None:
        """Have the probes ask how many seconds the intake from Celery has been silent; None: its thread has ended."""
        self._intake_silence = intake_silence

    def ticked(self, seconds: float, *, leads: bool) -> None:
        """Count a tick that went well."""
        self._ticks.observe(seconds)
        self._leader.set(leads)
        self._turned_at, self._failing = time.monotonic(), OK

    def missed(self, reason: str) -> None:
        """Count a tick that could not be done."""
        self._failed.inc()
        self._leader.set(0)
        self._turned_at, self._failing = time.monotonic(), reason

    def reconciled(self, pool: str, reaped: Reaped, sent: int) -> None:
        """Count what one pool's reconciling changed."""
        self._hints.labels(pool).inc(sent)
        for field, reason in _WHY.items():
            self._reruns.labels(pool, reason).inc(len(getattr(reaped, field)))
        self._lapsed.labels(pool).inc(sum(len(ids) for ids in (reaped.requeued, reaped.quarantined, reaped.dead)))
        self._lost.labels(pool).inc(len(reaped.workers))

    def unreaped(self, pools: int) -> None:
        """Show how many pools could not be reaped in the last tick: none on a scheduler that stands by."""
        self._unreaped.set(pools)
        self._not_reaped = pools

    def planned(self, heads: Mapping[tuple[str, str], Mapping[str, str]]) -> None:
        """Show the plans in force, by pool and profile, and no others any more."""
        for key in self._shown - heads.keys():
            for gauge in (self._theta, self._cap, self._skip, self._version):
                gauge.remove(*key)
        self._shown = set(heads)
        for key, head in heads.items():
            theta = head.get("theta", "auto")
            self._theta.labels(*key).set(math.nan if theta == "auto" else float(theta))
            self._cap.labels(*key).set(int(head["batch_cap"]))
            self._skip.labels(*key).set(int(head["skip_above"]))
            self._version.labels(*key).set(int(head["version"]))

    def live(self) -> dict[str, str]:
        """Whether the loop and the intake still turn."""
        silent_s = time.monotonic() - self._turned_at
        return {
            "loop": OK if silent_s < self._patience_s else f"no tick for {silent_s:.0f} s",
            "intake": self._intake(),
        }

    def ready(self) -> dict[str, str]:
        """Whether the last tick went well, for every pool, and jobs from Celery are taken; a scheduler that stands by
        is ready."""
        tick = self._failing
        if tick == OK and self._not_reaped:
            pools = "1 pool" if self._not_reaped == 1 else f"{self._not_reaped} pools"
            tick = f"{pools} cannot be reaped: the log says why"
        return {"tick": tick, "intake": self._intake()}

    def _intake(self) -> str:
        silent_s = self._intake_silence()
        if silent_s is None:
            return "the thread that takes jobs from Celery has ended"
        return OK if silent_s < STUCK_S else f"no job could be taken from Celery for {silent_s:.0f} s"
