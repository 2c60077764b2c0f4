"""``doctor --model``: a checkpoint described for a person."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from synerdiff.cli.diagnosis import devices

NAMES = {
    "continuous_batching": "continuous batching",
    "guidance": "guidance",
    "skip_guidance": "skipping guidance",
    "vae_chunking": "VAE chunking",
    "few_steps": "few steps",
}
SPARE = 1.2  # loading holds some buffers beside the weights


def examine_model(model: str, revision: str | None) -> dict[str, Any]:
    """Describe a checkpoint, and load it where memory allows.

    Raises :class:`ModelError` with the file and the reason when it cannot be served.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from synerdiff.engine.checkpoint import inspect
    from synerdiff.engine.describe import describe
    from synerdiff.engine.model import load_model, resolve

    path = resolve(model, revision)
    document = describe(inspect(path), Path(model).name)
    document["fits"] = {device["name"]: fits(device, document["memory_bytes"]) for device in devices()}
    needed = document["memory_bytes"]["cpu_weights"] * SPARE
    if needed > (free := _free_bytes()):
        reason = f"loading takes {size(needed)} and {size(free)} are free here"
        return {**document, "loaded": False, "why_not_loaded": reason}
    load_model(path, device="cpu")
    return {**document, "loaded": True, "why_not_loaded": None}


def fits(device: Mapping[str, Any], need: Mapping[str, int]) -> bool:
    """Whether a device's whole memory holds the weights and one decode; what its batch takes comes on top."""
    kind = "cpu" if device["name"] == "cpu" else "gpu"
    return bool(need[f"{kind}_weights"] + need[f"{kind}_decode"] < device["memory_bytes"])


def _free_bytes() -> float:
    import psutil

    return float(psutil.virtual_memory().available)


def size(count: float) -> str:
    """Bytes as a person reads them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def model_table(document: dict[str, Any]) -> Table:
    """The document as a table of sentences."""
    table = Table("", "", show_header=False)
    table.columns[1].overflow = "fold"
    parts = ", ".join(f"{part} {count / 1e6:.1f} M" for part, count in document["parameters"].items())
    need = document["memory_bytes"]
    rows = {
        "checkpoint": document["model_path"],
        "family": f"{document['family_name']}, {document['prediction']}",
        "weights": f"{size(document['weight_bytes'])} on disk; {parts}",
        "native size": f"{document['default_width']}x{document['default_height']}, "
        f"sides in multiples of {document['latent_multiple']}",
        "memory on a GPU": f"{size(need['gpu_weights'])} for the weights, about {size(need['gpu_decode'])} more to "
        "decode one image, and what its batch takes",
        "memory on a CPU": f"{size(need['cpu_weights'])} for the weights, about {size(need['cpu_decode'])} more to "
        "decode one image, and what its batch takes",
        "fits here": ", ".join(f"{name}: {'yes' if fit else 'no'}" for name, fit in document["fits"].items()),
        "samplers": ", ".join(document["samplers"]),
    }
    for key, feature in document["features"].items():
        rows[NAMES[key]] = f"{'yes' if feature['applies'] else 'no'}: {feature['note']}"
    rows["hash"] = document["model_hash"]
    rows["loads"] = "yes" if document["loaded"] else f"not tried: {document['why_not_loaded']}"
    for name, text in rows.items():
        table.add_row(name, text)
    return table
