"""The chart renders through the real Helm, and every object fits its kind's schema and the product's settings."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

from synerdiff.ledger.address import sentinel_address
from synerdiff.protocol import pool_of
from synerdiff.settings import Settings, load
from synerdiff.telemetry.pools import GAUGES
from tests.charts import (
    CHART,
    CUSTOM,
    VALUES,
    check,
    containers,
    install,
    kinds,
    literals,
    one,
    pod_specs,
    render,
    values_of,
)
from tools.chart_readme import readme

SETTINGS = {f"SYNERDIFF_{name.upper()}" for name in Settings.model_fields}
NAMES = [path.stem for path in VALUES]


@pytest.fixture(scope="module")
def objects() -> dict[str, list[dict[str, Any]]]:
    return {name: render(values_of(name)) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_lint_is_clean(name: str) -> None:
    report = helm_python.lint(CHART, values_of(name), strict=True)
    found = [message for message in report["messages"] if "icon is recommended" not in message["error"]]
    assert (found, report["errors"]) == ([], [])


@pytest.mark.parametrize("name", NAMES)
def test_every_object_fits_its_schema(name: str, objects: dict[str, list[dict[str, Any]]]) -> None:
    for found in objects[name]:
        check(found)
    names = [(found["kind"], found["metadata"]["name"]) for found in objects[name]]
    assert len(names) == len(set(names))


def test_the_schemas_refuse_what_they_should(objects: dict[str, list[dict[str, Any]]]) -> None:
    scaled = one(objects["two-pools"], "ScaledObject", "synerdiff-worker-sdxl")
    with pytest.raises(AssertionError, match="does not know"):
        check({**scaled, "spec": {**scaled["spec"], "maxReplicas": 3}})
    deployment = one(objects["two-pools"], "Deployment", "synerdiff-scheduler")
    with pytest.raises(Exception, match="replica"):
        check({**deployment, "spec": {**deployment["spec"], "replica": 3}})


@pytest.mark.parametrize("name", NAMES)
def test_pods_keep_to_the_restricted_standard(name: str, objects: dict[str, list[dict[str, Any]]]) -> None:
    for _, spec in pod_specs(objects[name]):
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False  # else SYNERDIFF_GATEWAY_PORT=tcp://... stops every service
    for _, container in containers(objects[name]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"requests", "limits"} <= set(container["resources"])


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_is_a_setting_that_loads(
    name: str, objects: dict[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for where, container in containers(objects[name]):
        with monkeypatch.context() as patch:
            for variable, value in literals(container).items():
                patch.setenv(variable, value)
            load()
        for item in container.get("env", []):
            stem = item["name"].split("__")[0]
            assert stem in SETTINGS or not stem.startswith("SYNERDIFF_"), f"{where}: {stem}"


@pytest.mark.parametrize("name", NAMES)
def test_selectors_and_ports_meet(name: str, objects: dict[str, list[dict[str, Any]]]) -> None:
    templates = [found["spec"]["template"] for found in objects[name] if found["kind"] in ("Deployment", "StatefulSet")]
    for found in objects[name]:
        if found["kind"] == "Service":
            chosen = [t for t in templates if found["spec"]["selector"].items() <= t["metadata"]["labels"].items()]
            assert len(chosen) == 1
            ports = {p["name"] for c in chosen[0]["spec"]["containers"] for p in c["ports"]}
            assert {port["targetPort"] for port in found["spec"]["ports"]} <= ports
        if found["kind"] == "PodDisruptionBudget":
            wanted = found["spec"]["selector"]["matchLabels"].items()
            assert len([t for t in templates if wanted <= t["metadata"]["labels"].items()]) == 1
    for where, container in containers(objects[name]):
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            for how in ("httpGet", "tcpSocket"):
                probe = container.get(kind, {}).get(how)
                assert probe is None or probe["port"] in {p["name"] for p in container["ports"]}, where


@pytest.mark.parametrize("name", NAMES)
def test_no_password_is_written_into_a_pod(name: str, objects: dict[str, list[dict[str, Any]]]) -> None:
    for where, container in containers(objects[name]):
        for variable, value in literals(container).items():
            secret = re.search(r"PASSWORD|SECRET|AUTH$|ACCESS_KEY|API_KEYS", variable)
            assert not secret, f"{where}: {variable}"
            assert not re.search(r"://[^@/$]*:[^$@/]+@", value), f"{where}: {variable}"


def test_a_gpu_pool_is_placed_and_leaves_in_peace(objects: dict[str, list[dict[str, Any]]]) -> None:
    found = one(objects["two-pools"], "Deployment", "synerdiff-worker-sdxl")
    spec = found["spec"]["template"]["spec"]
    worker = spec["containers"][0]
    env = literals(worker)
    assert "replicas" not in found["spec"]  # KEDA's
    assert spec["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"]
    assert worker["resources"]["limits"] == {"memory": "48Gi", "nvidia.com/gpu": 1}
    assert worker["image"] == "synerdiff-worker-cuda:0.1.0"
    assert float(env["SYNERDIFF_GRACE_S"]) == 540 < spec["terminationGracePeriodSeconds"]
    assert (env["SYNERDIFF_MODEL"], env["SYNERDIFF_DEVICE"], env["SYNERDIFF_DTYPE"]) == ("sdxl", "cuda", "auto")
    assert env["SYNERDIFF_MODEL_PATH"] == "stabilityai/stable-diffusion-xl-base-1.0"
    assert len(env["SYNERDIFF_MODEL_REVISION"]) == 40
    assert spec["runtimeClassName"] == "nvidia"
    assert {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}} in worker["env"]
    assert all(env[name].startswith("/cache/") for name in ("HF_HOME", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"))
    assert worker["startupProbe"]["httpGet"]["path"] == "/readyz"
    claim = one(objects["two-pools"], "PersistentVolumeClaim", "synerdiff-worker-sdxl-cache")
    assert claim["spec"]["resources"]["requests"] == {"storage": "60Gi"}
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["cache"]["persistentVolumeClaim"]["claimName"] == "synerdiff-worker-sdxl-cache"
    assert volumes["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "2Gi"}


def test_a_rollout_and_a_drain_wait_for_workers_but_not_for_broken_ones(
    objects: dict[str, list[dict[str, Any]]],
) -> None:
    found = one(objects["two-pools"], "Deployment", "synerdiff-worker-sdxl")["spec"]
    pod = found["template"]["spec"]
    probe = pod["containers"][0]["startupProbe"]
    replaced_s = pod["terminationGracePeriodSeconds"] + probe["periodSeconds"] * probe["failureThreshold"]
    assert found["progressDeadlineSeconds"] > replaced_s
    budgets = [each["spec"] for each in objects["two-pools"] if each["kind"] == "PodDisruptionBudget"]
    assert len(budgets) == 4
    assert {budget["unhealthyPodEvictionPolicy"] for budget in budgets} == {"AlwaysAllow"}
    annotations = found["template"]["metadata"]["annotations"]
    assert annotations == {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}


def test_no_cooldown_is_not_the_default_one() -> None:
    pool = {"name": "a", "model": "tiny-emoji", "autoscaling": {"min": 0, "max": 2, "cooldownSeconds": 0}}
    found = render({"pools": [pool], "keda": {"enabled": True}})
    assert one(found, "ScaledObject", "synerdiff-worker-a")["spec"]["cooldownPeriod"] == 0


def test_a_setting_given_twice_is_there_once_and_the_last_counts() -> None:
    log, rows = {"SYNERDIFF_LOG_LEVEL": "DEBUG"}, {"SYNERDIFF_MAX_ROWS": "8", "SYNERDIFF_CAPACITY": "4"}
    values = {"env": {**log, "SYNERDIFF_MAX_ROWS": "2"}, "poolDefaults": {"env": rows}}
    values |= {part: {"env": {"SYNERDIFF_LOG_LEVEL": "ERROR"}} for part in ("scheduler", "gateway", "flower")}
    found = {where: each for where, each in containers(render(values)) if "SYNERDIFF_LOG_LEVEL" in literals(each)}
    for where, container in found.items():
        names = [item["name"] for item in container["env"]]
        assert len(names) == len(set(names)), where
    levels = {where.split("/")[1]: literals(each).get("SYNERDIFF_LOG_LEVEL") for where, each in found.items()}
    assert {levels[part] for part in ("scheduler", "gateway", "flower")} == {"ERROR"}
    worker = next(literals(each) for where, each in found.items() if where.endswith("/worker"))
    assert (levels["worker"], worker["SYNERDIFF_MAX_ROWS"], worker["SYNERDIFF_CAPACITY"]) == ("DEBUG", "8", "4")


@pytest.mark.parametrize("name", ["minimal", "external", "sentinel"])
def test_what_a_variable_refers_to_is_defined_before_it(name: str) -> None:
    env = {"REDIS_PASSWORD": "$(MINE)-1", "SENTINEL_PASSWORD": "2", "MINE": "3"}
    again = {"secretEnv": {"SENTINEL_PASSWORD": {"secret": "mine", "key": "password"}}}
    own = {"env": env, "poolDefaults": again, "tests": {"model": "tiny-emoji"}}
    referring = 0
    for where, container in containers(render(values_of(name) | own)):
        defined: set[str] = set()
        for item in container.get("env", []):
            names = set(re.findall(r"\$\((\w+)\)", item.get("value", "")))
            assert names <= defined, f"{where}: {item['name']}"
            assert item["name"] not in defined, f"{where}: {item['name']}"
            referring += item["name"] == "SYNERDIFF_REDIS_URL" and bool(names)
            defined.add(item["name"])
    assert referring >= 5  # worker, scheduler, gateway, Flower, test


def test_two_pools_have_one_template_and_their_own_values(objects: dict[str, list[dict[str, Any]]]) -> None:
    second = one(objects["two-pools"], "Deployment", "synerdiff-worker-sd15")["spec"]["template"]["spec"]
    assert second["nodeSelector"] == {"pool": "small-gpus"}
    assert [item["key"] for item in second["tolerations"]] == ["spot", "nvidia.com/gpu"]
    assert literals(second["containers"][0])["SYNERDIFF_MAX_ROWS"] == "16"
    assert literals(second["containers"][0])["SYNERDIFF_MODEL_PATH"] == "/models/sd15"
    mounts = {mount["name"]: mount for mount in second["containers"][0]["volumeMounts"]}
    assert mounts["models"] == {"name": "models", "mountPath": "/models", "readOnly": True}
    assert {v["name"]: v for v in second["volumes"]}["cache"]["hostPath"]["path"] == "/var/lib/synerdiff"


def test_keda_reads_the_open_jobs_of_the_pools_model(objects: dict[str, list[dict[str, Any]]]) -> None:
    for pool in values_of("two-pools")["pools"]:
        name = f"synerdiff-worker-{pool['name']}"
        spec = one(objects["two-pools"], "ScaledObject", name)["spec"]
        assert spec["scaleTargetRef"] == {"name": name}
        assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (
            pool["autoscaling"]["min"],
            pool["autoscaling"]["max"],
        )
        trigger = spec["triggers"][0]
        assert (trigger["type"], trigger["metricType"]) == ("metrics-api", "AverageValue")
        assert "synerdiff_pool_open_jobs" in GAUGES
        wanted = f'synerdiff_pool_open_jobs{{pool="{pool_of(pool["model"])}"}}'
        assert trigger["metadata"]["valueLocation"] == wanted
        assert trigger["metadata"]["url"] == "http://synerdiff-gateway.imaging.svc:80/metrics"
        down = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
        assert down["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 60}]


def test_what_is_left_out_is_left_out(objects: dict[str, list[dict[str, Any]]]) -> None:
    off = objects["autoscaling-off"]
    assert kinds(off).isdisjoint(
        {*CUSTOM, "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget", "StatefulSet", "Secret"}
    )
    assert one(off, "Deployment", "synerdiff-gateway")["spec"]["replicas"] == 3
    assert one(off, "Deployment", "synerdiff-worker-trial")["spec"]["replicas"] == 2
    assert "Ingress" not in kinds(objects["minimal"])


def test_the_scheduler_stands_by(objects: dict[str, list[dict[str, Any]]]) -> None:
    assert one(objects["minimal"], "Deployment", "synerdiff-scheduler")["spec"]["replicas"] == 2
    assert one(objects["minimal"], "PodDisruptionBudget", "synerdiff-scheduler")["spec"]["maxUnavailable"] == 1


def test_external_redis_and_s3(objects: dict[str, list[dict[str, Any]]]) -> None:
    external = objects["external"]
    spec = one(external, "Deployment", "synerdiff-worker-sdxl")["spec"]["template"]["spec"]
    worker, weights = spec["containers"][0], spec["initContainers"][0]
    env = literals(worker)
    assert env["SYNERDIFF_REDIS_URL"] == (
        "rediss://synerdiff:$(REDIS_PASSWORD)@redis.example.com:6380/0"
        "?ssl_cert_reqs=required&ssl_ca_certs=/etc/synerdiff/redis-ca/ca.crt"
    )
    order = [item["name"] for item in worker["env"]]
    assert order.index("REDIS_PASSWORD") < order.index("SYNERDIFF_REDIS_URL")  # else it is not filled in
    assert {"SYNERDIFF_S3_ACCESS_KEY", "SYNERDIFF_S3_ENDPOINT"}.isdisjoint(order)
    assert weights["args"] == ["weights", "s3://weights/sdxl-base-1.0/", "/cache/weights/sdxl"]
    assert env["SYNERDIFF_MODEL_PATH"] == "/cache/weights/sdxl"
    assert worker["image"] == "registry.example.com/imaging/synerdiff-worker-cuda:0.1.0"
    account = one(external, "ServiceAccount", "synerdiff")
    assert account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"].startswith("arn:aws:iam")
    assert "StatefulSet" not in kinds(external)


def test_redis_behind_sentinel(objects: dict[str, list[dict[str, Any]]]) -> None:
    sentinel = objects["sentinel"]
    worker = one(sentinel, "Deployment", "synerdiff-worker-sdxl")["spec"]["template"]["spec"]["containers"][0]
    url = literals(worker)["SYNERDIFF_REDIS_URL"]
    order = [item["name"] for item in worker["env"]]
    assert {"REDIS_PASSWORD", "SENTINEL_PASSWORD"} <= set(order[: order.index("SYNERDIFF_REDIS_URL")])
    filled = url.replace("$(REDIS_PASSWORD)", "for-redis").replace("$(SENTINEL_PASSWORD)", "for-sentinels")
    address = sentinel_address(filled)
    assert address is not None
    assert address.hosts == (
        ("sentinel-0.example.com", 26379),
        ("sentinel-1.example.com", 26380),
        ("sentinel-2.example.com", 26379),
    )
    assert (address.master, address.db) == ("images", 0)
    assert address.user == {"username": "synerdiff", "password": "for-redis"}
    assert address.sentinel_user == {"password": "for-sentinels"}
    assert address.tls is not None
    assert address.tls["ssl_ca_certs"] == "/etc/synerdiff/redis-ca/ca.crt"
    allowed = one(sentinel, "NetworkPolicy", "synerdiff-to-redis")["spec"]["egress"][0]["ports"]
    assert [item["port"] for item in allowed] == [6379, 26379, 26380]


def test_each_part_may_have_a_redis_user_of_its_own(objects: dict[str, list[dict[str, Any]]]) -> None:
    keys = {}
    for where, container in containers(objects["autoscaling-off"]):
        for item in container.get("env", []):
            if item["name"] == "SYNERDIFF_REDIS_URL":
                keys[where.split("/")[1]] = item["valueFrom"]["secretKeyRef"]["key"]
    assert keys == {
        "worker": "worker-url",
        "scheduler": "scheduler-url",
        "gateway": "gateway-url",
        "generate": "producer-url",
    }


def test_default_deny_covers_every_pod(objects: dict[str, list[dict[str, Any]]]) -> None:
    for name in ("minimal", "two-pools", "external"):
        policy = one(objects[name], "NetworkPolicy", "synerdiff-default-deny")["spec"]
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        assert "ingress" not in policy
        wanted = policy["podSelector"]["matchLabels"].items()
        for found in objects[name]:
            if found["kind"] in ("Deployment", "StatefulSet"):
                assert wanted <= found["spec"]["template"]["metadata"]["labels"].items()
            if found["kind"] == "Pod":
                assert wanted <= found["metadata"]["labels"].items()


def test_egress_reaches_node_caches_the_pods_identity_and_what_is_added(
    objects: dict[str, list[dict[str, Any]]],
) -> None:
    for name in ("minimal", "two-pools", "external"):
        names = one(objects[name], "NetworkPolicy", "synerdiff-default-deny")["spec"]["egress"][0]["to"]
        assert {"ipBlock": {"cidr": "169.254.20.10/32"}} in names
    agent = {"ipBlock": {"cidr": "169.254.170.23/32"}}
    reached = {
        name: agent
        in [
            peer
            for rule in one(objects[name], "NetworkPolicy", "synerdiff-to-storage")["spec"]["egress"]
            for peer in rule["to"]
        ]
        for name in ("minimal", "external")
    }
    assert reached == {"minimal": False, "external": True}
    added = {"to": [{"podSelector": {}}], "ports": [{"port": 6379, "protocol": "TCP"}]}
    found = render({"networkPolicy": {"extraEgress": [added]}})
    spec = one(found, "NetworkPolicy", "synerdiff-extra-egress")["spec"]
    assert spec["egress"] == [added]
    assert spec["podSelector"]["matchExpressions"][0]["values"] == ["valkey", "seaweedfs"]  # scheduler and Flower too
    check(one(found, "NetworkPolicy", "synerdiff-extra-egress"))


def test_alerts_and_dashboard_travel_with_the_chart(objects: dict[str, list[dict[str, Any]]]) -> None:
    rules = one(objects["two-pools"], "PrometheusRule", "synerdiff")["spec"]
    assert rules == yaml.safe_load((CHART / "files" / "alerts.yaml").read_text(encoding="utf-8"))
    shown = one(objects["two-pools"], "ConfigMap", "synerdiff-dashboard")["data"]["synerdiff.json"]
    assert json.loads(shown) == json.loads((CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))


def test_the_notes_say_what_was_installed() -> None:
    notes = install(values_of("two-pools"))["notes"]
    assert "sdxl: model sdxl, 1 to 12 workers on its open jobs, 1 GPU each" in notes
    assert "The gateway asks for no keys" in notes
    assert "asks for no keys" not in install(values_of("external"))["notes"]


def test_a_packaged_chart_installs(tmp_path: Path) -> None:
    archive = Path(helm_python.package(CHART, destination=tmp_path))
    assert archive.name == "synerdiff-0.1.0.tgz"
    values = values_of("external")  # no generated passwords, so that two renderings agree
    assert render(values, archive) == render(values)


def test_the_readme_is_current() -> None:
    wanted = readme(CHART)
    assert (CHART / "README.md").read_text(encoding="utf-8") == wanted, "run python -m tools.chart_readme"


def test_the_schema_knows_every_value() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    values["pools"] = [{"name": "x", "model": "tiny-emoji", **values["poolDefaults"]}]
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        for where in (values, values["pools"][0], values["gateway"], values["valkey"]):
            where["unheard"] = 1
            with pytest.raises(helm_python.HelmValuesError, match="unheard"):
                chart.validate_schema(values)
            del where["unheard"]
