"""Wrong values end lint and install with a sentence that names the value."""

from __future__ import annotations

from typing import Any

import helm_python
import pytest

from tests.charts import CHART, install

TRIAL = {"name": "a", "model": "tiny-emoji"}
SDXL = {"name": "a", "model": "sdxl"}
REVISION = "0" * 40
EXTERNAL_S3 = {"seaweedfs": {"enabled": False}, "externalS3": {"enabled": True}}

MISTAKES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "pool without a name": ({"pools": [{"model": "sdxl"}]}, ["/pools/0", "missing property 'name'"]),
    "pool without a model": ({"pools": [{"name": "a"}]}, ["/pools/0", "missing property 'model'"]),
    "no pool": ({"pools": []}, ["/pools", "minItems"]),
    "negative replicas": ({"pools": [{**TRIAL, "replicas": -1}]}, ["/pools/0/replicas", "-1"]),
    "no scheduler": ({"scheduler": {"replicas": 0}}, ["/scheduler/replicas", "0"]),
    "a name that Kubernetes refuses": ({"pools": [{**TRIAL, "name": "Big_GPU"}]}, ["/pools/0/name", "Big_GPU"]),
    "a misspelt field": ({"pools": [{**TRIAL, "replica": 2}]}, ["/pools/0", "'replica'"]),
    "a misspelt section": ({"gatway": {}}, ["'gatway'"]),
    "a branch for a revision": (
        {"pools": [{**SDXL, "weights": {"hub": {"id": "o/m", "revision": "main"}}}]},
        ["/pools/0/weights/hub/revision", "main"],
    ),
    "a short hash": ({"pools": [{**TRIAL, "modelHash": "abc"}]}, ["/pools/0/modelHash", "abc"]),
    "two pools with one name": (
        {"pools": [TRIAL, {**TRIAL, "replicas": 2}]},
        ["pools[1].name: 'a' is the name of pools[0] already"],
    ),
    "autoscaling without KEDA": (
        {"pools": [{**TRIAL, "autoscaling": {"min": 0, "max": 2}}]},
        ["pools[0] (a).autoscaling: needs KEDA, and keda.enabled is false"],
    ),
    "autoscaling without a gateway": (
        {
            "pools": [{**TRIAL, "autoscaling": {"min": 0, "max": 2}}],
            "keda": {"enabled": True},
            "gateway": {"enabled": False},
        },
        ["pools[0] (a).autoscaling", "gateway.enabled is false"],
    ),
    "bounds the wrong way round": (
        {"pools": [{**TRIAL, "autoscaling": {"min": 5, "max": 2}}], "keda": {"enabled": True}},
        ["pools[0] (a).autoscaling.min: 5 is more than max, which is 2"],
    ),
    "half precision without a GPU": (
        {"pools": [{**TRIAL, "dtype": "float16"}]},
        ["pools[0] (a).dtype: float16 needs a GPU, and gpu.count is 0"],
    ),
    "an unknown precision": ({"pools": [{**TRIAL, "dtype": "fp8"}]}, ["/pools/0/dtype"]),
    "a model without weights": ({"pools": [SDXL]}, ["pools[0] (a).weights: empty", "'sdxl' is not the shipped model"]),
    "two kinds of weights": (
        {"pools": [{**SDXL, "weights": {"path": "/models/x", "hub": {"id": "o/m", "revision": REVISION}}}]},
        ["pools[0] (a).weights: give one of path, hub and s3; got hub, path"],
    ),
    "a path in no volume": (
        {"pools": [{**SDXL, "weights": {"path": "/models/x"}}]},
        ["pools[0] (a).weights.path: /models/x is in no volume"],
    ),
    "a host path without a path": (
        {"pools": [{**TRIAL, "cache": {"type": "hostPath"}}]},
        ["pools[0] (a).cache.path: empty"],
    ),
    "a claim of one node for several workers": (
        {"pools": [{**TRIAL, "replicas": 3, "cache": {"type": "pvc", "accessMode": "ReadWriteOnce"}}]},
        ["pools[0] (a).cache.accessMode: ReadWriteOnce", "3 workers"],
    ),
    "no Redis": ({"valkey": {"enabled": False}}, ["externalRedis.host: empty, and valkey.enabled is false"]),
    "a limit that Valkey cannot read": ({"valkey": {"maxmemory": "1Gi"}}, ["/valkey/maxmemory", "1Gi"]),
    "memory that Valkey fills": (
        {"valkey": {"maxmemory": "2gb", "resources": {"limits": {"memory": "2Gi"}}}},
        ["valkey.resources.limits.memory: 2Gi is no more than valkey.maxmemory, which is 2gb"],
    ),
    "less memory in other units": (
        {"valkey": {"resources": {"limits": {"memory": 1_000_000_000}}}},
        ["valkey.resources.limits.memory: 1e+09 is no more than valkey.maxmemory, which is 1gb"],
    ),
    "an amount that is none": (
        {"pools": [{**TRIAL, "resources": {"limits": {"memory": "lots"}}}]},
        ["/pools/0/resources/limits/memory", "'lots'"],
    ),
    "an amount below zero": (
        {"scheduler": {"resources": {"requests": {"cpu": -1}}}},
        ["/scheduler/resources/requests/cpu", "-1"],
    ),
    "a host with a scheme": (
        {"valkey": {"enabled": False}, "externalRedis": {"host": "redis://r:6379", "secret": "s"}},
        ["/externalRedis/host", "redis://r:6379"],
    ),
    "two Redis": ({"externalRedis": {"host": "r"}}, ["externalRedis: given, but valkey.enabled is true"]),
    "Redis without a password": (
        {"valkey": {"enabled": False}, "externalRedis": {"host": "r"}},
        ["externalRedis.secret: empty, so there is no password for r"],
    ),
    "a URL in no secret": (
        {"valkey": {"enabled": False}, "externalRedis": {"urlKey": "url"}},
        ["externalRedis.secret: empty, but externalRedis.urlKey is 'url'"],
    ),
    "Sentinels and a host": (
        {"valkey": {"enabled": False}, "externalRedis": {"host": "r", "sentinel": {"hosts": ["s"], "master": "m"}}},
        ["externalRedis.sentinel.hosts: given, but externalRedis.host is too"],
    ),
    "Sentinels of no primary": (
        {"valkey": {"enabled": False}, "externalRedis": {"secret": "s", "sentinel": {"hosts": ["s"]}}},
        ["externalRedis.sentinel.master: empty"],
    ),
    "a primary without Sentinels": (
        {"valkey": {"enabled": False}, "externalRedis": {"host": "r", "secret": "s", "sentinel": {"master": "m"}}},
        ["externalRedis.sentinel.hosts: empty"],
    ),
    "a Sentinel that is a URL": (
        {"valkey": {"enabled": False}, "externalRedis": {"sentinel": {"hosts": ["redis://s:1"], "master": "m"}}},
        ["redis://s:1"],
    ),
    "no S3": ({"seaweedfs": {"enabled": False}}, ["externalS3.enabled: false, and so is seaweedfs.enabled"]),
    "two S3": ({"externalS3": {"enabled": True}}, ["externalS3.enabled: true, and so is seaweedfs.enabled"]),
    "S3 without credentials": (
        EXTERNAL_S3,
        ["externalS3.credentialsSecret: empty, so there are no credentials for bucket"],
    ),
    "an ingress without a host": ({"gateway": {"ingress": {"enabled": True}}}, ["gateway.ingress.host: empty"]),
    "gateway bounds the wrong way round": (
        {"gateway": {"autoscaling": {"min": 9, "max": 3}}},
        ["gateway.autoscaling.min: 9 is more than gateway.autoscaling.max, which is 3"],
    ),
}


@pytest.mark.parametrize(
    ("maxmemory", "memory"),
    [("1gb", "1025Mi"), ("1g", "1Gi"), ("500mb", "0.5Gi"), ("1gb", "1.1e9"), ("1024", 1025), ("1gb", None)],
)
def test_memory_beyond_what_valkey_fills_is_enough(maxmemory: str, memory: str | int | None) -> None:
    install({"valkey": {"maxmemory": maxmemory, "resources": {"limits": {"memory": memory}}}})


@pytest.mark.parametrize("mistake", MISTAKES)
def test_lint_and_install_name_the_value(mistake: str) -> None:
    values, words = MISTAKES[mistake]
    report = helm_python.lint(CHART, values, strict=True)
    linted = " ".join([*report["errors"], *(message["error"] for message in report["messages"])])
    with pytest.raises(helm_python.HelmError) as refused:
        install(values)
    for word in words:
        assert word in linted
        assert word in str(refused.value)
