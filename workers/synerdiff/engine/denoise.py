"""One UNet call for a batch: rows in, guided prediction out, whatever does not fit in memory told apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from synerdiff.engine.batch import Batch, Inputs
from synerdiff.engine.config import EngineConfig
from synerdiff.engine.executors import BucketedUNet, row_buckets
from synerdiff.engine.guidance import Guidance
from synerdiff.engine.lean import LeanUNet
from synerdiff.engine.memory import RowLimits, run_in_pieces
from synerdiff.engine.model import LoadedModel
from synerdiff.engine.shape import Shape

UNetCall = Callable[..., tuple[Tensor, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """The UNet's float32 answer: ``unconditional`` ``[U, C, h, w]`` for the layout's positions, ``conditional``
    ``[N, C, h, w]`` for every member, and the positions of members that do not fit in memory even alone."""

    unconditional: Tensor
    conditional: Tensor
    unfit: frozenset[int]


def fixed_rows_unet(model: LoadedModel, config: EngineConfig) -> UNetCall | None:
    """The UNet as ``config.unet_rows`` asks for it; None: as it is."""
    if config.unet_rows == "any":
        return None
    plain = (lambda unet: unet) if config.unet_rows == "padded" else None
    return BucketedUNet(model.unet, fixed_rows(config), compiler=plain)


def fixed_rows(config: EngineConfig) -> tuple[int, ...]:
    """The numbers of rows that UNet calls are padded to, where they are."""
    return row_buckets(config.max_rows or 2 * config.capacity)


def own_shape(model: LoadedModel) -> Shape:
    """The shape of images of the model's own size with prompts of the encoder's length: the one that is compiled."""
    entry, scale = model.entry, model.entry.latent_multiple
    return Shape(entry.default_height // scale, entry.default_width // scale, 1, model.dtype)


def call_unet(
    model: LoadedModel,
    batch: Batch,
    inputs: Inputs,
    limits: RowLimits,
    shape: object,
    *,
    unet: UNetCall | None = None,
) -> Prediction:
    """Run the UNet over the rows, in one call if they fit; ``limits`` learns by ``shape`` what does.

    ``unet`` replaces the model's own. Raises ``torch.OutOfMemoryError`` if not one row fits.
    """
    run = unet or model.unet_in(batch.dtype)
    count, layout = inputs.rows.count, inputs.rows
    further = layout.options
    if isinstance(run, LeanUNet) and layout.projected is not None:
        further = {**further, "projected": layout.projected}

    def call(start: int, stop: int) -> Tensor:
        whole = stop - start == count
        options = further if whole else _cut(further, start, stop)
        output: Tensor = run(
            inputs.latents[start:stop],
            inputs.timesteps[start:stop],
            encoder_hidden_states=layout.context[start:stop],
            return_dict=False,
            **options,
        )[0]
        return output

    output, failed = run_in_pieces(call, count, shape, limits)
    split = layout.unconditional
    unfit = frozenset(layout.positions[row] if row < split else row - split for row in failed)
    output = output.float()
    return Prediction(output[:split], output[split:], unfit)


def guide(guidance: Guidance, batch: Batch, inputs: Inputs, prediction: Prediction) -> Tensor:
    """The guided prediction ``[N, C, h, w]``; members with one row a step keep their prediction."""
    conditions, conditional = batch.conditions, prediction.conditional
    if not conditions.guided:
        return conditional
    states = [state for sample in batch.members if (state := sample.guidance) is not None]
    ran = [position in inputs.rows.ran for position in conditions.guided]
    index = conditions.guided_index
    if index is None:
        return guidance.combine(conditional, prediction.unconditional, states, ran)
    guided = guidance.combine(conditional[index], prediction.unconditional, states, ran)
    return conditional.index_copy(0, index, guided)


def _cut(options: dict[str, object], start: int, stop: int) -> dict[str, object]:
    """The same rows of every further input of the UNet."""

    def cut(value: object) -> object:
        if isinstance(value, dict):
            return {name: cut(inner) for name, inner in value.items()}
        return value[start:stop] if isinstance(value, torch.Tensor) else value

    return {name: cut(value) for name, value in options.items()}
