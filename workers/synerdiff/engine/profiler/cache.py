"""Profiles on disk, each under the hash of all that its measurement depends on."""

from __future__ import annotations

import hashlib
import json
import os
from importlib.metadata import version
from pathlib import Path

from synerdiff.engine.config import EngineConfig
from synerdiff.engine.model import LoadedModel
from synerdiff.engine.precision import dtype_name
from synerdiff.policy.errors import PolicyError
from synerdiff.policy.profile import Profile, parse_profile, profile_document

from .device import device_label
from .sizes import config_at, setting_name


def software() -> dict[str, str]:
    """Versions of what does the computing."""
    return {name: version(name) for name in ("torch", "diffusers", "synerdiff")}


def cache_key(
    model: LoadedModel,
    width: int,
    height: int,
    *,
    executor: str,
    threads: int,
    max_rows: int,
    config: EngineConfig | None = None,
) -> str:
    """Hash of what a measurement depends on: weights, size, dtype, device, versions and what was asked for."""
    unet_rows = setting_name(config_at(config or EngineConfig(), model, width, height))
    depends = {
        "model": model.name,
        "model_hash": model.model_hash,
        "size": [width, height],
        "dtype": [dtype_name(model.dtype), str(model.vae_dtype)],
        "device": device_label(model.device),
        "software": software(),
        "asked": [executor, threads, max_rows, *([] if unet_rows == "any" else [unet_rows])],
    }
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:20]


def profile_path(cache_dir: str | Path, key: str) -> Path:
    """Where the profile of a key is kept."""
    return Path(cache_dir).expanduser() / "profiles" / f"{key}.json"


def load_cached(path: Path) -> Profile | None:
    """Read a profile; None if it is not there, or damaged, or of another version of the format."""
    try:
        return parse_profile(path.read_text())
    except (OSError, UnicodeDecodeError, PolicyError):
        return None


def store(path: Path, profile: Profile) -> None:
    """Write a profile so that a reader finds all of it or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.tmp")
    partial.write_text(profile_document(profile))
    partial.replace(path)
