"""The profile that a worker goes by: kept from before, or measured in a moment; and measured again at leisure."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch

from synerdiff.engine.config import EngineConfig
from synerdiff.engine.model import LoadedModel
from synerdiff.policy.profile import Profile

from .cache import cache_key, load_cached, profile_path, store
from .measure import MAX_ROWS, Effort, Measuring, measuring
from .rounds import finish, silent
from .setup import Setup, setup_of

QUICK_CALL_S = 2.0
"""A worker's start measures no more rows once a UNet call takes longer than this."""

CPU_ROWS = 16
AGAIN_REPEATS = 3


@dataclass(frozen=True, slots=True)
class Served:
    """A profile, where it is kept (None: nowhere), and the limits of the engine whose calls it says."""

    profile: Profile
    path: Path | None
    config: EngineConfig = field(default_factory=EngineConfig)


def serving_profile(
    model: LoadedModel, *, cache_dir: str | Path | None, threads: int, config: EngineConfig | None = None
) -> Served:
    """The profile of the model's own size for an engine of ``config``.

    What ``synerdiff profile`` kept here, else an earlier quick one, else a quick one now: one round of few rows in the
    present setup, about as long as an image of 25 steps takes.

    Raises :class:`ModelError` where the model cannot run at its size.
    """
    width, height = model.entry.default_width, model.entry.default_height
    config, full, quick = config or EngineConfig(), None, None
    if cache_dir:
        key = cache_key(
            model, width, height, executor=config.executor, threads=threads, max_rows=MAX_ROWS, config=config
        )
        full, quick = profile_path(cache_dir, key), profile_path(cache_dir, f"{key}-quick")
        for path in (full, quick):
            if kept := load_cached(path):
                return Served(kept, path, config)
    setup = Setup(threads or torch.get_num_threads() if model.device.type == "cpu" else 0, "contiguous")
    effort = Effort(
        max_rows=_rows(model),
        repeats=1,
        executor=_executor(model, config.executor),
        setup=setup,
        call_limit_s=QUICK_CALL_S,
        warm_up=False,
        config=config,
    )
    served = Served(finish(measuring(model, width, height, effort), silent), quick, config)
    keep(served)
    return served


def measuring_again(model: LoadedModel, served: Served) -> Measuring:
    """Measure what a profile says once more, in its setup, piece by piece; returns a profile of the same id."""
    profile = served.profile
    effort = Effort(
        max_rows=profile.rows[-1],
        granularities=tuple(each.name for each in profile.granularities),
        repeats=AGAIN_REPEATS,
        executor=profile.executor,
        setup=setup_of(profile),
        config=served.config,
    )
    return measuring(model, profile.width, profile.height, effort)


def keep(served: Served) -> None:
    """Keep a profile for the next start; where the disk does not take it, the next start measures again."""
    if served.path is not None:
        with suppress(OSError):
            store(served.path, served.profile)


def _rows(model: LoadedModel) -> int:
    return MAX_ROWS if model.device.type == "cuda" else CPU_ROWS


def _executor(model: LoadedModel, asked: str) -> str:
    """On a CPU two sides at once rarely gain anything, and finding out takes long: the full profile does."""
    return "serial" if asked == "auto" and model.device.type == "cpu" else asked
