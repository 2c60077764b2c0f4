"""Names of devices, and whether a profile is for this model on this one."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from synerdiff.engine.config import EngineConfig
from synerdiff.engine.model import LoadedModel
from synerdiff.engine.precision import dtype_name
from synerdiff.policy.profile import Profile
from synerdiff.protocol.errors import PlanError

from .setup import cores
from .sizes import config_at, setting_name


def device_label(device: torch.device) -> str:
    """The device by its product name; a CPU with the number of cores that may be used."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{_cpu_name()}, {cores()} cores"


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def check_profile(profile: Profile, model: LoadedModel, config: EngineConfig) -> None:
    """Refuse a profile of another model, device or dtype, or of UNet calls that ``config`` does not make.

    Raises:
        PlanError: names the field that differs and both values.
    """
    here = {
        "model_hash": model.model_hash,
        "device": device_label(model.device),
        "dtype": dtype_name(model.dtype),
        "unet_rows": setting_name(config_at(config, model, profile.width, profile.height)),
    }
    for name, value in here.items():
        found = getattr(profile, name)
        if found != value:
            raise PlanError(f"profile: {name} is {found!r:.80}, but this is {value!r:.80}", field=name)
