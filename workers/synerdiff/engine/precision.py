"""The precision that a model runs in: the device's own, or the one that was asked for."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path

import torch

from synerdiff.protocol.errors import ModelError

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

_NATIVE = frozenset({"amx_bf16", "avx512_bf16", "bf16"})  # x86's two, then Arm's
_log = logging.getLogger(__name__)


def dtype_name(dtype: torch.dtype) -> str:
    """Its bare name, such as ``float32``."""
    return str(dtype).removeprefix("torch.")


def choose_dtype(asked: str, device: torch.device) -> torch.dtype:
    """Turn ``auto`` or the name of a precision into what runs on a device: by itself float32 on a CPU, float16 on a
    GPU.

    bfloat16 runs on every CPU, with a warning where it must be emulated. Raises :class:`ModelError` for any other
    name, and for float16 on a CPU.
    """
    if asked == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    dtype = DTYPES.get(asked)
    if dtype is None:
        raise ModelError(f"dtype must be auto, float32, float16 or bfloat16; got {asked!r:.40}")
    if device.type == "cpu" and dtype == torch.float16:
        raise ModelError("dtype is float16, but the device is a CPU, which runs float32 or bfloat16")
    if device.type == "cpu" and dtype == torch.bfloat16 and not has_bfloat16():
        _log.warning("dtype is bfloat16, which this CPU has no instructions for: it will be slower than float32")
    return dtype


def vae_dtype(dtype: torch.dtype, device: torch.device, *, upcast: bool) -> torch.dtype:
    """The precision of decodes: single where the VAE's config asks for that (``upcast``) and on every CPU.

    A decode in bfloat16 rounds each pixel to some 200 steps, and is a small part of an image's time.
    """
    return torch.float32 if upcast or device.type == "cpu" else dtype


@cache
def has_bfloat16() -> bool:
    """Whether this CPU multiplies in bfloat16 itself, and torch makes use of it."""
    return bool(_NATIVE & _cpu_flags()) and onednn_takes_bfloat16()


def onednn_takes_bfloat16() -> bool:
    """Whether torch's convolutions in bfloat16 go to oneDNN on this CPU."""
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _cpu_flags() -> frozenset[str]:
    """What Linux says the CPU can do; nothing elsewhere."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    listed = (line.split(":", 1)[1].split() for line in lines if line.startswith(("flags", "Features")))
    return frozenset(next(listed, ()))
