"""The Helm chart through the real Helm library, and its objects against the schemas of their kinds."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import yaml
from kubernetes_validate import utils as schemas

ROOT = Path(__file__).parents[1]
CHART = ROOT / "helm" / "synerdiff"
VALUES = sorted((CHART / "ci").glob("*.yaml"))
OLDEST, NEWEST = "1.27", "1.37"
RELEASE, NAMESPACE = "synerdiff", "imaging"

# Kinds that operators add, and the models generated from the operators' own definitions of them.
CUSTOM = {
    "ScaledObject": "cloudcoil.models.keda.v1alpha1",
    "ServiceMonitor": "cloudcoil.models.prometheus_operator.v1",
    "PodMonitor": "cloudcoil.models.prometheus_operator.v1",
    "PrometheusRule": "cloudcoil.models.prometheus_operator.v1",
}
Object = dict[str, Any]

schemas.schema_contents = functools.cache(schemas.schema_contents)  # else megabytes are parsed again for each object


def values_of(name: str) -> dict[str, Any]:
    """One of the chart's example value files."""
    found: dict[str, Any] = yaml.safe_load((CHART / "ci" / f"{name}.yaml").read_text(encoding="utf-8"))
    return found


def install(values: dict[str, Any], chart: Path = CHART) -> dict[str, Any]:
    """The release that ``helm install --dry-run=client`` would make. Raises ``HelmError``."""
    with helm_python.Config(namespace=NAMESPACE) as config, helm_python.Chart.load(chart) as loaded:
        return config.install(loaded, RELEASE, values, dry_run="client")


def render(values: dict[str, Any], chart: Path = CHART) -> list[Object]:
    """The objects of a release, its test pods too."""
    manifest = install(values, chart)["manifest"]
    with helm_python.Chart.load(chart) as loaded:
        files = loaded.render(values, name=RELEASE, namespace=NAMESPACE)
    hooks = "\n---\n".join(text for name, text in files.items() if "/tests/" in name)
    return [found for found in yaml.safe_load_all(f"{manifest}\n---\n{hooks}") if found]


def check(found: Object) -> None:
    """Validate strictly: unknown fields are errors. Raises ``ValidationError``."""
    module = CUSTOM.get(found["kind"])
    if module is None:
        for version in (OLDEST, NEWEST):
            kubernetes_validate.validate(found, version, strict=True)
        return
    model = getattr(importlib.import_module(module), found["kind"])
    again = model.model_validate(found).model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert again == found, f"{found['kind']} has fields that its definition does not know"


def one(objects: list[Object], kind: str, name: str) -> Object:
    """The object of this kind and name."""
    matching = [found for found in objects if found["kind"] == kind and found["metadata"]["name"] == name]
    assert len(matching) == 1, f"{len(matching)} objects {kind} {name}"
    return matching[0]


def kinds(objects: list[Object]) -> set[str]:
    """The kinds that occur."""
    return {found["kind"] for found in objects}


def pod_specs(objects: list[Object]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name and spec of every pod that the objects describe."""
    for found in objects:
        if found["kind"] == "Pod":
            yield found["metadata"]["name"], found["spec"]
        elif found["kind"] in ("Deployment", "StatefulSet"):
            yield found["metadata"]["name"], found["spec"]["template"]["spec"]


def containers(objects: list[Object]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every container, with its pod's name."""
    for name, spec in pod_specs(objects):
        for container in spec["containers"] + spec.get("initContainers", []):
            yield f"{name}/{container['name']}", container


def literals(container: dict[str, Any]) -> dict[str, str]:
    """The container's variables whose values the manifest itself gives."""
    return {item["name"]: item["value"] for item in container.get("env", []) if "value" in item}
