"""The dashboard's and the alerts' queries ask for metrics and labels that the services really export."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from synerdiff.api.metrics import Metrics
from synerdiff.engine.types import SlotReport
from synerdiff.ledger import Ledger, PoolLoad, Reaped, WorkerReport
from synerdiff.protocol import Timings
from synerdiff.scheduler.metrics import SchedulerMetrics
from synerdiff.telemetry.pools import Pools
from synerdiff.workers.metrics import WorkerMetrics

ROOT = Path(__file__).parents[2]
FILES = ROOT / "helm/synerdiff/files"
ADDED = frozenset({"instance", "job", "le"})  # by Prometheus, and by histograms
PLAN = {"batch_cap": "4", "skip_above": "2", "version": "1", "theta": "auto"}


def registries() -> dict[str, CollectorRegistry]:
    """What the three services export once each has done something."""
    worker, gateway = WorkerMetrics(), Metrics()
    worker.take(SlotReport(0.1, 0.1, 2, 1, 1, 0, 0.1, 0.1))
    worker.plan(WorkerReport(name="w", pool="m", capacity=1))
    worker.left("m", "handed_back")
    worker.left("m", "lost")
    worker.finished(Timings(), 1)
    gateway.requests.labels("GET", "/", "200").inc()
    gateway.latency.labels("GET", "/").observe(0.1)
    gateway.submitted.labels("true").inc()
    gateway.webhooks.labels("delivered").inc()
    gateway.registry.register(Pools(queue()))  # as its answer joins them
    return {"worker": worker.registry, "scheduler": scheduler_registry(), "gateway": gateway.registry}


def exported() -> dict[str, set[str]]:
    """Every exported sample, with its labels."""
    found: dict[str, set[str]] = {}
    for registry in registries().values():
        for sample in samples(registry):
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def documented() -> str:
    """The table of metrics as docs/telemetry.md has it."""
    rows: dict[str, tuple[str, str, str, list[str]]] = {}
    for service, registry in registries().items():
        families: Iterable[Metric] = registry.collect()
        for family in families:
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
            row = rows.setdefault(name, (family.type, ", ".join(labels), family.documentation, []))
            row[3].append(service)
    head = "| Metric | Kind | Labels | From | Meaning |\n|---|---|---|---|---|\n"
    return head + "".join(
        f"| `{name}` | {kind} | {labels} | {', '.join(services)} | {meaning} |\n"
        for name, (kind, labels, meaning, services) in sorted(rows.items())
    )


def queue() -> Ledger:
    """A ledger with one empty pool."""

    class Queue:
        def pools(self) -> list[str]:
            return ["m"]

        def load(self, pool: str) -> PoolLoad:
            return PoolLoad(pool=pool)

        def dead_letter_count(self) -> int:
            return 0

    return cast(Ledger, Queue())


def scheduler_registry() -> CollectorRegistry:
    metrics = SchedulerMetrics(queue(), 1.0)
    metrics.reconciled("m", Reaped(), 0)
    metrics.planned({("m", "p"): PLAN})
    return metrics.registry


def samples(registry: CollectorRegistry) -> Iterator[Any]:
    families: Iterable[Metric] = registry.collect()
    for family in families:
        yield from family.samples


def queries() -> list[tuple[str, str]]:
    dashboard = json.loads((FILES / "dashboard.json").read_text())
    panels = [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel.get("targets", [])]
    rules = yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]
    return panels + [(rule["alert"], rule["expr"]) for group in rules for rule in group["rules"]]


def selectors(node: Any) -> Iterator[Any]:
    """Every vector selector of a parsed query."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("expr", "lhs", "rhs", "vector_selector", "param"):
        if (child := getattr(node, name, None)) is not None:
            yield from selectors(child)
    for child in getattr(node, "args", None) or []:
        yield from selectors(child)


@pytest.mark.parametrize(("title", "query"), queries(), ids=[title for title, _ in queries()])
def test_a_query_is_valid_and_asks_for_what_is_exported(title: str, query: str) -> None:
    known = exported()
    found = list(selectors(promql_parser.parse(query.replace("$pool", ".*"))))
    assert found
    for selector in found:
        assert selector.name in known, f"{title}: nothing exports {selector.name}"
        asked = {matcher.name for matcher in selector.matchers.matchers}
        assert asked <= known[selector.name] | ADDED, f"{title}: {selector.name} has no {asked}"
    grouped = {name for inside in re.findall(r"by \(([^)]*)\)", query) for name in inside.split(", ")}
    labels = set().union(*(known[selector.name] for selector in found))
    assert grouped <= labels | ADDED, f"{title}: grouped by {grouped - labels - ADDED}"


def test_every_exported_metric_is_on_the_dashboard() -> None:
    shown = (FILES / "dashboard.json").read_text() + (FILES / "alerts.yaml").read_text()
    plain = {name for name in exported() if not name.endswith(("_created", "_count", "_sum"))}
    assert {name for name in plain if name not in shown} <= {
        "synerdiff_jobs_submitted_total",
        "synerdiff_plan_version",
        "synerdiff_planned_batch_cap_samples",
        "synerdiff_planned_skip_above_jobs",
        "synerdiff_planned_version",
        "synerdiff_pool_paused",
        "synerdiff_scheduler_failed_ticks_total",
        "synerdiff_vae_chunks_total",
    }


def test_the_page_on_telemetry_lists_every_metric() -> None:
    assert documented() in (ROOT / "docs/telemetry.md").read_text(), documented()


def test_panels_do_not_overlap_and_have_ids_of_their_own() -> None:
    panels = json.loads((FILES / "dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not own & cells, panel["title"]
        cells |= own


def test_each_alert_says_what_is_wrong_and_how_bad() -> None:
    for group in yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("info", "warning", "critical")
            assert rule["annotations"]["summary"].endswith(".")
            assert rule["annotations"]["description"].endswith(".")
