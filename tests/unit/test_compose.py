"""compose.yaml: valid for each profile, with the services it should have, in an order that health checks hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from synerdiff.settings import Settings, load
from tests.compose import COMPOSE, EXAMPLE, ROOT, compose, configured

BASE = {"valkey", "seaweedfs", "scheduler", "gateway", "flower"}
PROFILES = {
    (): BASE,
    ("cpu",): BASE | {"worker-cpu"},
    ("gpu",): BASE | {"worker-gpu"},
    ("observability",): BASE | {"prometheus", "grafana"},
    ("gpu", "observability"): BASE | {"worker-gpu", "prometheus", "grafana"},
}
ALL = ("cpu", "gpu", "observability")
OWN_IMAGE = ("scheduler", "gateway", "flower", "worker-cpu", "worker-gpu")  # their images have health checks


@pytest.mark.parametrize("env_file", [EXAMPLE, None], ids=["example", "no-env"])
@pytest.mark.parametrize("profiles", PROFILES)
def test_each_profile_is_valid_and_has_its_services(profiles: tuple[str, ...], env_file: Path | None) -> None:
    found = compose("config", "--services", profiles=profiles, env_file=env_file)
    assert set(found.split()) == PROFILES[profiles]


def test_the_example_names_every_variable_and_no_other() -> None:
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", COMPOSE.read_text(encoding="utf-8")))
    named = set(re.findall(r"^(\w+)=", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE))
    assert named <= used
    assert {name for name in used - named if not name.endswith("_IMAGE")} == {"DEVICE"}


def test_every_variable_is_a_setting_that_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {f"SYNERDIFF_{name.upper()}" for name in Settings.model_fields}
    for name, service in configured(*ALL)["services"].items():
        ours = {key: value for key, value in service.get("environment", {}).items() if key.startswith("SYNERDIFF_")}
        assert set(ours) <= known, name
        with monkeypatch.context() as patch:
            for key, value in ours.items():
                patch.setenv(key, value)
            settings = load()
        if name == "worker-cpu":
            assert (settings.model, settings.model_path, settings.model_revision) == ("tiny-emoji", None, None)


def test_start_order_is_held_by_health_checks() -> None:
    services = configured(*ALL)["services"]
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            assert how["condition"] == "service_healthy", f"{name} on {needed}"
            assert "healthcheck" in services[needed]
        assert "healthcheck" in service or name in OWN_IMAGE
    assert set(services["worker-gpu"]["depends_on"]) == {"valkey", "seaweedfs", "scheduler"}
    assert set(services["gateway"]["depends_on"]) == {"valkey", "seaweedfs"}


def test_containers_are_read_only_and_without_capabilities() -> None:
    for name, service in configured(*ALL)["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name


def test_only_the_loopback_address_is_published_unasked() -> None:
    for service in configured(*ALL, env_file=None)["services"].values():
        assert {port["host_ip"] for port in service.get("ports", [])} <= {"127.0.0.1"}


def test_a_gpu_is_reserved_and_a_worker_may_finish_its_jobs() -> None:
    worker = configured("gpu")["services"]["worker-gpu"]
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["device_ids"], device["capabilities"]) == ("nvidia", ["0"], ["gpu"])
    assert worker["stop_grace_period"] == "5m30s"
    assert float(worker["environment"]["SYNERDIFF_GRACE_S"]) == 300


def test_what_is_mounted_is_there() -> None:
    for name, service in configured(*ALL)["services"].items():
        for volume in service.get("volumes", []):
            if volume["type"] == "bind" and not volume["source"].endswith("/models"):
                assert Path(volume["source"]).is_file(), f"{name}: {volume['source']}"
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).is_file()


def test_prometheus_scrapes_services_that_exist() -> None:
    config = yaml.safe_load((ROOT / "docker" / "prometheus.yml").read_text(encoding="utf-8"))
    services = set(configured(*ALL)["services"])
    for job in config["scrape_configs"]:
        for group in job.get("static_configs", []):
            assert {target.split(":")[0] for target in group["targets"]} <= services
        for group in job.get("dns_sd_configs", []):
            assert set(group["names"]) <= services
