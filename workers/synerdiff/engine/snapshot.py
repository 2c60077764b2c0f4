"""Latent checkpoints: what a rerun needs of a job to go on where it stopped and make the same image.

For each image: latents, the multistep sampler's history, the generator of a stochastic one, the state of
skip-CFG, and what its receipt has counted so far. Safetensors, never pickle: the bytes come back from a store
that others can write to. Text embeddings are not kept: encoding again is cheaper than storing them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from synerdiff.engine.guidance import GuidanceState
from synerdiff.engine.model import LoadedModel
from synerdiff.engine.sample import Sample
from synerdiff.engine.schedule import MULTISTEP
from synerdiff.engine.types import Request

FORMAT = 1
_STATE = "state"
# What the request and the sampler's table say of a sample's guidance; the rest is its state.
_GIVEN = frozenset({"scale", "quality", "sampler", "path", "limits", "replay", "reading"})
_GUIDANCE = tuple(item.name for item in fields(GuidanceState) if item.name not in _GIVEN)


@dataclass(frozen=True, slots=True, eq=False)
class SavedImage:
    """One image's state after ``step`` denoising steps; ``spent_s`` is the time since it was admitted."""

    step: int
    rows_run: int
    call_rows: int
    spent_s: float
    float32: bool
    latents: Tensor
    history: Tensor | None = None
    generator: Tensor | None = None
    guidance: Mapping[str, Any] | None = field(default=None)


def encode(samples: Iterable[Sample], model: LoadedModel, now: float) -> bytes:
    """The checkpoint of a job's ``samples``, whose latents must be their own (not only in a batch).

    Images that have taken no step are left out: they start from their seed.
    """
    begun = [sample for sample in samples if sample.step]
    tensors: dict[str, Tensor] = {}
    images = [_describe(sample, now, tensors) for sample in begun]
    document = {"identity": identity(begun[0].request, model), "images": images}
    text = json.dumps(document).encode()
    return save({**tensors, _STATE: torch.frombuffer(bytearray(text), dtype=torch.uint8)})


def decode(data: bytes, request: Request, model: LoadedModel) -> dict[int, SavedImage]:
    """The saved images of a request, by index; empty when the bytes are damaged or were made for anything else."""
    try:
        tensors = load(data)
        document = json.loads(tensors[_STATE].numpy().tobytes())
        if document["identity"] != identity(request, model):
            return {}
        return {int(image["index"]): _read(image, tensors, request, model) for image in document["images"]}
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError):
        return {}


def restore(sample: Sample, saved: SavedImage, device: torch.device, now: float) -> None:
    """Put a sample that was just begun where the saved one stood."""
    if saved.generator is not None:
        sample.generator.set_state(saved.generator)
    sample.step, sample.rows_run, sample.call_rows = saved.step, saved.rows_run, saved.call_rows
    sample.latents = saved.latents.to(device)
    sample.history = None if saved.history is None else saved.history.to(device)
    sample.admitted_at = now - saved.spent_s
    if sample.guidance is not None and saved.guidance is not None:
        for name, value in saved.guidance.items():
            setattr(sample.guidance, name, value.to(device) if isinstance(value, Tensor) else value)


def identity(request: Request, model: LoadedModel) -> str:
    """Names everything that the latents of a request depend on."""
    asked = {name: value for name, value in asdict(request).items() if name not in ("job_id", "priority")}
    parts = (FORMAT, model.model_hash, str(model.dtype), torch.__version__, asked)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _describe(sample: Sample, now: float, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The host values of one sample; its tensors go to ``tensors``."""

    def keep(name: str, value: Tensor | None) -> None:
        if value is not None:
            tensors[f"{sample.index}.{name}"] = value.detach().to("cpu", copy=True).contiguous()

    keep("latents", sample.latents)
    keep("history", sample.history if sample.table.sampler in MULTISTEP else None)
    keep("generator", sample.generator.get_state() if sample.stochastic else None)
    guidance: dict[str, Any] | None = None
    if sample.guidance is not None:
        sample.guidance.settle()
        guidance = {name: getattr(sample.guidance, name) for name in _GUIDANCE}
        for name in [name for name, value in guidance.items() if isinstance(value, Tensor)]:
            keep(f"guidance.{name}", guidance.pop(name))
    return {
        "index": sample.index,
        "step": sample.step,
        "rows_run": sample.rows_run,
        "call_rows": sample.call_rows,
        "spent_s": max(0.0, now - sample.admitted_at),
        "float32": sample.shape.dtype == torch.float32,
        "guidance": guidance,
    }


def _read(image: Mapping[str, Any], tensors: Mapping[str, Tensor], request: Request, model: LoadedModel) -> SavedImage:
    index, step = image["index"], image["step"]
    scale = model.entry.latent_multiple
    latents = tensors[f"{index}.latents"]
    history = tensors.get(f"{index}.history")
    expected = (model.latent_channels, request.height // scale, request.width // scale)
    for tensor in (latents, history):
        if tensor is not None and (tuple(tensor.shape) != expected or tensor.dtype != torch.float32):
            raise ValueError("latents of another shape")
    generator = tensors.get(f"{index}.generator")
    if generator is not None:
        torch.Generator("cpu").set_state(generator)  # raises for what is no state
    table = model.tables.get(request.sampler, request.steps)
    if not (0 <= index < request.n and 1 <= step <= table.steps):
        raise ValueError("a step that the request does not have")
    guidance = image["guidance"]
    if guidance is not None:
        start = f"{index}.guidance."
        guidance = guidance | {
            name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)
        }
        _check_guidance(guidance, step)
    return SavedImage(
        step,
        image["rows_run"],
        image["call_rows"],
        image["spent_s"],
        image["float32"],
        latents,
        history,
        generator,
        guidance,
    )


def _check_guidance(guidance: Mapping[str, Any], step: int) -> None:
    """What the skip criterion looks steps up by must lie behind ``step``."""
    if not set(guidance) <= set(_GUIDANCE) or guidance["step"] != step:
        raise ValueError("guidance of another version")
    if not all(-1 <= guidance[name] < step for name in ("last_step", "before_step")):
        raise ValueError("guidance that looks ahead")
    if (guidance["last_step"] >= 0) != (guidance.get("last") is not None):
        raise ValueError("guidance without its difference")
