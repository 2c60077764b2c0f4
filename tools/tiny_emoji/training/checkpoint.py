"""What a training run goes on from: one file, replaced in one move.

Keys: one per module with its trained weights, ``ema`` (a list in the order of the weights; None: the same as they are),
``opt`` (name to ``m`` and, for Adam's weights, ``v``), ``step``, ``seen``, ``schedule``, and the task's own values
(``scale`` for the UNet). Older files without ``schedule`` can be gone on from; the next leg begins where they end.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tools.tiny_emoji.training.flat import Layout, load
from tools.tiny_emoji.training.muon import is_matrix
from tools.tiny_emoji.training.schedule import Schedule


@dataclass(frozen=True, slots=True)
class SharedState:
    """Everything that changes while training, in shared memory; flat tensors but for ``counters`` (step, seen)."""

    weights: Tensor
    average: Tensor
    first: Tensor
    second: Tensor
    counters: Tensor

    @classmethod
    def zeros(cls, size: int) -> SharedState:
        """Fresh state for ``size`` weights."""
        weights, average, first, second = (torch.zeros(size).share_memory_() for _ in range(4))
        return cls(weights, average, first, second, torch.zeros(2, dtype=torch.int64).share_memory_())

    @property
    def seen(self) -> int:
        """Samples seen."""
        return int(self.counters[1])

    @property
    def step(self) -> int:
        """Optimiser steps taken."""
        return int(self.counters[0])


@dataclass(frozen=True, slots=True)
class Restored:
    """What a checkpoint says beside the state: its schedule, and the task's own values."""

    schedule: Schedule | None
    extras: dict[str, Any] = field(default_factory=dict)


def _grouped(views: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """``module.parameter`` to module to parameter, copied out of shared memory."""
    groups: dict[str, dict[str, Tensor]] = {}
    for name, view in views.items():
        module, _, parameter = name.partition(".")
        groups.setdefault(module, {})[parameter] = view.clone()
    return groups


def save(path: Path, layout: Layout, state: SharedState, schedule: Schedule, extras: Mapping[str, Any]) -> None:
    """Write a checkpoint beside ``path`` and move it there."""
    weights, second = layout.views(state.weights), layout.views(state.second)
    moments = {
        name: {"m": first.clone()} | ({} if is_matrix(name, weights[name]) else {"v": second[name].clone()})
        for name, first in layout.views(state.first).items()
    }
    average = [view.clone() for view in layout.views(state.average).values()]
    content = {"ema": average, "opt": moments, "step": state.step, "seen": state.seen, "schedule": schedule.as_dict()}
    unfinished = path.with_name(path.name + ".tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({**_grouped(weights), **content, **extras}, unfinished)
    os.replace(unfinished, path)


def restore(path: Path, layout: Layout, state: SharedState) -> Restored:
    """Fill the state from a checkpoint; moments that it lacks stay as they are."""
    content: dict[str, Any] = torch.load(path, weights_only=True, mmap=True)
    modules = {name.partition(".")[0] for name in layout.shapes}
    values = {f"{module}.{name}": value for module in modules for name, value in content[module].items()}
    load(layout.views(state.weights), values)
    average = dict(zip(layout.shapes, content["ema"], strict=True)) if content["ema"] else values
    load(layout.views(state.average), average)
    for flat, key in ((state.first, "m"), (state.second, "v")):
        for name, view in layout.views(flat).items():
            if key in (moments := content["opt"].get(name, {})):
                view.copy_(moments[key])
    state.counters.copy_(torch.tensor([content["step"], content["seen"]]))
    known = {*modules, "ema", "opt", "step", "seen", "schedule"}
    schedule = Schedule(**content["schedule"]) if "schedule" in content else None
    return Restored(schedule, {key: value for key, value in content.items() if key not in known})
