"""Building the real engine inside the engine process. Importing this module imports torch."""

from __future__ import annotations

import hashlib
import importlib.metadata

import torch

from synerdiff.engine.config import EngineConfig
from synerdiff.engine.engine import Engine
from synerdiff.engine.model import LoadedModel, load_model
from synerdiff.engine.types import Event, JobFailed, Request
from synerdiff.policy import plan_view
from synerdiff.protocol.errors import ModelError
from synerdiff.workers.messages import EngineSpec, Ready

PACKAGES = ("synerdiff", "torch", "diffusers", "transformers", "numpy")
_WARM_UP = "warm-up"


class ServedEngine:
    """An engine and what its process says of it."""

    def __init__(self, engine: Engine, ready: Ready) -> None:
        self._engine = engine
        self.ready = ready

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return self._engine.idle

    def admit(self, request: Request) -> None:
        """Queue a job."""
        self._engine.admit(request)

    def cancel(self, job_id: str) -> None:
        """Drop a job."""
        self._engine.cancel(job_id)

    def follow(self, head: dict[str, str], table: str | None) -> None:
        """Follow a plan. Raises ``PolicyError`` when it is damaged."""
        self._engine.set_plan(plan_view(head, table or ""))

    def step(self) -> list[Event]:
        """Run one slot."""
        return self._engine.step()


def device_name(model: LoadedModel) -> str:
    """The device as reports show it."""
    return torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else str(model.device)


def profile_id(model: LoadedModel) -> str:
    """Names what slot times depend on: weights, device and number format."""
    parts = (model.model_hash, device_name(model), str(model.dtype))
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def warm_up(engine: Engine, model: LoadedModel) -> None:
    """Make one image in one step: the device works, and its first-use costs are paid before a job waits for it."""
    entry = model.entry
    sampler = entry.samplers[0]
    size = (entry.default_width, entry.default_height)
    engine.admit(Request(_WARM_UP, "", "", *size, 1, 5.0, sampler, 0, 1, "exact"))
    while not engine.idle:
        for event in engine.step():
            if isinstance(event, JobFailed):
                raise ModelError(f"the model cannot make an image: {event.error.message}")


def build(spec: EngineSpec) -> ServedEngine:
    """Load the model and make sure that it works. Raises :class:`ModelError` with the reason."""
    model = load_model(
        spec.model_path,
        name=spec.model,
        device=spec.device,
        revision=spec.model_revision,
        threads=spec.threads,
        expected_hash=spec.model_hash,
    )
    config = EngineConfig(
        capacity=spec.capacity, max_rows=spec.max_rows, executor=spec.executor, long_prompts=spec.long_prompts
    )
    engine = Engine(model, config)
    warm_up(engine, model)
    ready = Ready(model.entry, device_name(model), profile_id(model), _versions())
    return ServedEngine(engine, ready)
