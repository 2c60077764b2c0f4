"""The numbers of rows that the engine calls its UNet with: which to measure, and their name in a profile.

Where calls are padded or compiled to a few numbers of rows, their seconds are a staircase: a call costs what the next
of these numbers costs. So each stair is measured at both of its ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from synerdiff.engine.config import EngineConfig
from synerdiff.engine.denoise import fixed_rows
from synerdiff.engine.executors import row_buckets
from synerdiff.engine.model import LoadedModel


def config_at(config: EngineConfig, model: LoadedModel, width: int, height: int) -> EngineConfig:
    """The engine's limits as they hold for images of a size: only the model's own size is compiled."""
    own = (width, height) == (model.entry.default_width, model.entry.default_height)
    return config if own or config.unet_rows != "compiled" else replace(config, unet_rows="any")


def setting_name(config: EngineConfig) -> str:
    """``any``, or what is done to calls and up to how many rows, such as ``padded up to 32``."""
    return "any" if config.unet_rows == "any" else f"{config.unet_rows} up to {fixed_rows(config)[-1]}"


def rows_to_measure(config: EngineConfig, max_rows: int) -> tuple[int, ...]:
    """Where the seconds of a call bend, up to ``max_rows`` and never past the rows that are padded to."""
    if config.unet_rows == "any":
        return row_buckets(max_rows)
    ends = fixed_rows(config)
    starts = (1, *(end + 1 for end in ends[:-1]))
    return tuple(sorted({rows for rows in (*starts, *ends) if rows <= max_rows}))


def whole_stairs(config: EngineConfig, sizes: Sequence[int]) -> tuple[int, ...]:
    """The measured ``sizes`` without a stair whose end did not fit: what the engine then pads to is their last."""
    ends = sizes if config.unet_rows == "any" else fixed_rows(config)
    last = max((rows for rows in sizes if rows in ends), default=0)
    return tuple(rows for rows in sizes if rows <= last)
