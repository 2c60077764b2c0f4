"""Making a job's images again from its receipt, on this machine and without a fleet."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from synerdiff.cli.console import err
from synerdiff.cli.extras import require
from synerdiff.cli.job_input import wrong
from synerdiff.protocol import Receipt
from synerdiff.protocol.errors import ModelError
from synerdiff.settings import Settings, load
from synerdiff.storage import encode_image, read_receipt

FIELDS = ("prompt", "negative_prompt", "width", "height", "steps", "guidance_scale", "sampler", "seed", "n", "quality")


def read(source: Path) -> Receipt:
    """The receipt in a file: JSON, a result that holds one, or an image that carries one. Raises ``InvalidJob``."""
    try:
        data = source.read_bytes()
    except OSError as error:
        raise wrong("replay", f"--replay {source} cannot be read: {error.strerror}") from None
    found = read_receipt(data)
    try:
        receipt = found or _from_json(data)
    except (ValidationError, ValueError, RecursionError):
        raise wrong("replay", f"--replay {source} is neither a receipt nor an image that carries one") from None
    missing = [field for field in FIELDS if field not in receipt.request]
    if missing:
        raise wrong("replay", f"--replay {source}: the receipt does not say the job's {missing[0]}")
    return receipt


def _from_json(data: bytes) -> Receipt:
    import json

    document = json.loads(data)
    return Receipt.model_validate(document.get("receipt", document) if isinstance(document, dict) else document)


def replay(source: Path, out_dir: Path, image_format: str) -> dict[str, Any]:
    """Make the images of the receipt in ``source`` again, skipping the same steps; returns the result object.

    Raises :class:`InvalidJob` for a source without a receipt, :class:`ModelError` when this machine's model is
    another than the receipt's, :class:`Unavailable` when the engine is not installed.
    """
    receipt = read(source)
    settings = load()
    with err.status("making the images again"):
        images = _run(receipt, settings)
    files, refs = [], []
    out_dir.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images):
        data = encode_image(image.pixels, image_format, receipt, index)  # type: ignore[arg-type]
        path = out_dir / f"{receipt.job_id}-{index}-replay.{'jpg' if image_format == 'jpeg' else image_format}"
        path.write_bytes(data)
        files.append(str(path.resolve()))
        height, width = image.pixels.shape[:2]
        refs.append({"seed": image.seed, "sha256": hashlib.sha256(data).hexdigest(), "width": width, "height": height})
    shown = receipt.model_dump(mode="json")
    return {"id": receipt.job_id, "state": "succeeded", "images": refs, "files": files, "receipt": shown, "error": None}


def _dtype(receipt: Receipt, settings: Settings) -> str:
    """The receipt's precision, unless the settings ask for one; a CPU takes its own in place of float16."""
    from synerdiff.engine.model import choose_device

    if settings.dtype != "auto" or not receipt.dtype:
        return settings.dtype
    half_on_cpu = receipt.dtype == "float16" and choose_device(settings.device).type == "cpu"
    return "auto" if half_on_cpu else receipt.dtype


def _run(receipt: Receipt, settings: Settings) -> list[Any]:
    """Run the receipt's job alone in an engine of this process; its ``ImageReady`` events by index."""
    require("worker")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is imported
    from synerdiff.engine.config import EngineConfig
    from synerdiff.engine.engine import Engine
    from synerdiff.engine.model import load_model
    from synerdiff.engine.precision import dtype_name
    from synerdiff.engine.types import ImageReady, JobFailed, Request

    model = load_model(
        settings.model_path,
        name=settings.model,
        device=settings.device,
        revision=settings.model_revision,
        dtype=_dtype(receipt, settings),
    )
    if receipt.model_hash and receipt.model_hash != model.model_hash:
        raise ModelError(
            f"the receipt was made with model {receipt.model} ({receipt.model_hash[:12]}) and this machine's model"
            f" is {model.name} ({model.model_hash[:12]}); set SYNERDIFF_MODEL_PATH to the receipt's"
        )
    if receipt.dtype and receipt.dtype != dtype_name(model.dtype):
        err.print(
            f"the receipt's images were made in {receipt.dtype} and these are made in {dtype_name(model.dtype)}:"
            " close, but not the same pixels"
        )
    engine = Engine(model, EngineConfig())
    fields: dict[str, Any] = {field: receipt.request[field] for field in FIELDS}
    skipped = tuple(tuple(steps) for steps in receipt.skipped_steps)
    engine.admit(Request(job_id=receipt.job_id, **fields, replay=skipped or None))
    images: list[Any] = []
    while not engine.idle:
        for event in engine.step():
            if isinstance(event, ImageReady):
                images.append(event)
            elif isinstance(event, JobFailed):
                raise ModelError(event.error.message)
    return sorted(images, key=lambda image: image.index)
