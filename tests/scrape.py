"""Reading a service's probes and metrics as Prometheus and Kubernetes do."""

from __future__ import annotations

from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.support import wait_until


def metrics(url: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Every sample at ``url``, by name and labels."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(httpx.get(f"{url}/metrics", timeout=30).text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def probe(url: str, path: str) -> tuple[int, dict[str, Any]]:
    """Status and body of a probe; 0 while nothing listens."""
    try:
        reply = httpx.get(url + path, timeout=30)
    except httpx.TransportError:
        return 0, {}
    return reply.status_code, reply.json()


def probed(url: str, path: str, status: int) -> dict[str, Any]:
    """Wait until a probe answers with ``status``; its body."""

    def answered() -> tuple[int, dict[str, Any]] | None:
        found = probe(url, path)
        return found if found[0] == status else None

    return (wait_until(answered, 60, what=f"{status} from {path}") or (0, {}))[1]
