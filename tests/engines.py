"""Engines over small random checkpoints, and a UNet that fails where a test wants it to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.checkpoints import make_checkpoint
from synerdiff.engine.config import EngineConfig
from synerdiff.engine.engine import Engine
from synerdiff.engine.model import LoadedModel, load_model
from synerdiff.engine.text import TextEncoder
from synerdiff.engine.types import Event, ImageReady, JobFailed, Request
from synerdiff.policy import Plan, PlanTable, PlanView


@cache
def random_model(family: str = "sd1", prediction: str | None = None) -> LoadedModel:
    """A loaded random checkpoint, made once for the whole test run."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        return load_model(make_checkpoint(Path(folder), family, prediction=prediction), name=family, device="cpu")


def request(job_id: str = "job", **fields: Any) -> Request:
    """A small request; every field can be given."""
    defaults: dict[str, Any] = {
        "prompt": "a red star",
        "negative_prompt": "",
        "width": 64,
        "height": 64,
        "steps": 3,
        "guidance_scale": 5.0,
        "sampler": "ddim",
        "seed": 7,
        "n": 1,
        "quality": "exact",
    }
    return Request(job_id=job_id, **{**defaults, **fields})


def drain(engine: Engine, *, most: int = 500) -> list[Event]:
    """Step until idle and return every event."""
    events: list[Event] = []
    for _ in range(most):
        if engine.idle:
            return events
        events += engine.step()
    raise AssertionError(f"the engine is not idle after {most} slots")


def images(events: Sequence[Event]) -> dict[tuple[str, int], ImageReady]:
    """The images among events, by job and index."""
    return {(event.job_id, event.index): event for event in events if isinstance(event, ImageReady)}


def failures(events: Sequence[Event]) -> dict[str, str]:
    """Error codes of failed jobs among events."""
    return {event.job_id: event.error.code for event in events if isinstance(event, JobFailed)}


class FakeUNet(nn.Module):
    """A UNet whose prediction is a tenth of its input, and that runs out of memory or breaks on demand.

    ``most_rows`` is the most rows that fit in a call; ``spoil(latents, context)`` marks the rows ``[R]`` that
    come out as NaN. ``calls`` lists the rows of each call that fitted.
    """

    def __init__(self, most_rows: int = 10_000, spoil: Callable[[Tensor, Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.most_rows = most_rows
        self.spoil = spoil
        self.calls: list[int] = []

    def forward(
        self, latents: Tensor, timesteps: Tensor, *, encoder_hidden_states: Tensor, return_dict: bool
    ) -> tuple[Tensor]:
        """Predict, or raise ``torch.OutOfMemoryError``."""
        rows = latents.shape[0]
        if rows > self.most_rows:
            raise torch.OutOfMemoryError(f"no room for {rows} rows")
        self.calls.append(rows)
        output = latents / 10 + encoder_hidden_states.mean(dim=(1, 2))[:, None, None, None]
        if self.spoil is not None:
            output[self.spoil(latents, encoder_hidden_states)] = float("nan")
        return (output,)


def fake_model(unet: FakeUNet, **changes: Any) -> LoadedModel:
    """The random SD 1 checkpoint with another UNet."""
    return replace(random_model(), unet=unet, **changes)


def engine_with(unet: FakeUNet | None = None, plan: PlanView | None = None, **config: Any) -> Engine:
    """An engine with a fake UNet; ``config`` are fields of its configuration."""
    return Engine(fake_model(unet or FakeUNet()), EngineConfig(**config), plan)


def decode_beside(granularity: str) -> PlanView:
    """A plan that runs a quarter of a decode beside every UNet call."""
    states = np.arange(33)
    table = PlanTable(
        profile_id="",
        rows_per_sample=2,
        chunks_per_decode=4,
        granularities=(granularity,),
        unet=np.stack([np.zeros(33), np.ones(33)]).astype(np.uint8),
        chunks=np.stack([np.minimum(states, 1)] * 2).astype(np.uint16),
        granularity=np.zeros((2, 33), dtype=np.uint8),
        bound_slots=0,
    )
    return PlanView(Plan(3, "", batch_cap=8, skip_above=8, table_hash=""), table)


@cache
def _poison() -> Tensor:
    return TextEncoder(random_model()).encode("poison", "", guided=False).positive.context


def is_poison(latents: Tensor, context: Tensor) -> Tensor:
    """Rows whose text has the embedding of ``poison``, which the engine under test encoded itself."""
    return (context - _poison().to(context.dtype)).abs().amax(dim=(1, 2)) < 1e-3
