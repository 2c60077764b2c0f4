"""Measure a profile, from the setup to the contention surface."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from synerdiff.engine.config import EngineConfig
from synerdiff.engine.decode import GRANULARITIES
from synerdiff.engine.memory import is_out_of_memory
from synerdiff.engine.model import LoadedModel
from synerdiff.engine.precision import dtype_name
from synerdiff.policy.profile import Granularity, Profile
from synerdiff.protocol.errors import ModelError

from .cache import cache_key, load_cached, profile_path, software, store
from .contention import WORTH, beside_name, make_beside, measure_pairs, saved
from .device import device_label
from .overhead import measure_overheads
from .rounds import Progress, Samples, Stage, Task, finish, rounds, silent
from .setup import Setup, apply_setup, choose_setup
from .sizes import rows_to_measure, setting_name, whole_stairs
from .workload import STEPS, Workload

MAX_ROWS = 32
REPEATS = 5

Measuring = Generator[Stage, None, Profile]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured.

    Rows go up to ``max_rows``, and stop after a call that takes longer than ``call_limit_s``. ``repeats`` rounds are
    counted, after one to warm up where ``warm_up`` says so. ``setup`` is what the model is laid out for already;
    without one the best is looked for. ``executor``: ``auto`` measures both sides at once and keeps that only where
    it saves time. ``config`` is the engine's whose calls are measured (``unet_rows``, and how many rows it may call).
    """

    max_rows: int = MAX_ROWS
    granularities: Sequence[str] = GRANULARITIES
    repeats: int = REPEATS
    executor: str = "auto"
    threads: int = 0
    setup: Setup | None = None
    call_limit_s: float = math.inf
    warm_up: bool = True
    config: EngineConfig = field(default_factory=EngineConfig)


def measure_profile(
    model: LoadedModel,
    width: int,
    height: int,
    *,
    max_rows: int = MAX_ROWS,
    granularities: Sequence[str] = GRANULARITIES,
    repeats: int = REPEATS,
    executor: str = "auto",
    threads: int = 0,
    config: EngineConfig | None = None,
    progress: Progress = silent,
) -> Profile:
    """Measure one model at one size on its device, and leave the model in the setup that was found best.

    Args:
        max_rows: the largest UNet call to measure; fewer if memory ends before.
        granularities: ways to cut a decode, from coarse to fine.
        repeats: rounds, after one to warm up; a figure is the median over them.
        executor: ``auto`` measures both sides at once and keeps that only where it saves time.
        threads: torch threads; 0 tries one and all.
        config: the engine's whose calls are measured; its ``unet_rows`` counts. Without one, calls of any rows.

    Raises:
        ModelError: the model cannot make images of this size here.
    """
    effort = Effort(max_rows, granularities, repeats, executor, threads, config=config or EngineConfig())
    return finish(measuring(model, width, height, effort), progress)


def measuring(model: LoadedModel, width: int, height: int, effort: Effort) -> Measuring:
    """The measurement in pieces of one call or decode each; returns the profile. Raises as :func:`measure_profile`."""
    work = Workload(model, width, height, effort.config)
    sizes, full = yield from fitting_rows(work, effort.max_rows, effort.call_limit_s)
    setup = effort.setup
    if setup is None:
        setup = yield from choose_setup(work, effort.threads, sizes[-1], effort.repeats)
        apply_setup(model, setup)
    alone = yield from _alone(work, sizes, effort)
    cuts = tuple(Granularity(name, samples.medians) for name, samples in alone.decodes.items())
    unet_s = tuple(samples.medians[0] for samples in alone.unet)
    exact_s = alone.exact_s
    plain_s = tuple(exact_s[rows - 1] for rows in sizes) if len(exact_s) == sizes[-1] else unet_s
    overheads = yield from measure_overheads(work, sizes, plain_s)
    profile = Profile(
        model=model.name,
        device=device_label(model.device),
        dtype=dtype_name(model.dtype),
        width=width,
        height=height,
        rows=sizes,
        unet_s=unet_s,
        granularities=cuts,
        model_hash=model.model_hash,
        threads=setup.threads,
        memory_format=setup.memory_format,
        software=software(),
        rows_per_sample=work.rows_per_sample,
        steps=STEPS,
        max_rows=sizes[-1] if full else 0,
        slot_s=overheads.slot_s,
        encode_s=overheads.encode_s,
        exact_s=exact_s,
        unet_rows=setting_name(work.config),
        spread=alone.spread,
    )
    return (yield from _with_overlap(work, profile, effort))


def fitting_rows(
    work: Workload, max_rows: int, call_limit_s: float
) -> Generator[Stage, None, tuple[tuple[int, ...], bool]]:
    """The row counts to measure, and whether memory ended before ``max_rows``."""
    sizes: list[int] = []
    asked = rows_to_measure(work.config, max_rows)
    for rows in asked:
        yield len(sizes), len(asked), "rows that fit"
        try:
            (seconds,) = work.time_unet(rows)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or not sizes:
                raise ModelError(f"a UNet call of {rows} rows at {work.width}x{work.height} failed: {error}") from error
            return whole_stairs(work.config, sizes), True
        sizes.append(rows)
        if seconds > call_limit_s and rows >= work.rows_per_sample:
            break
    return tuple(sizes), False


@dataclass(frozen=True, slots=True)
class Alone:
    """What is called with nothing beside it: the UNet by rows, few rows with an ``exact`` image, decodes."""

    unet: list[Samples]
    exact: dict[int, Samples]
    decodes: dict[str, Samples]

    @property
    def exact_s(self) -> tuple[float, ...]:
        """Seconds of calls of 1, 2, 3, ... rows with an ``exact`` image, linear between what was measured."""
        sizes = list(self.exact)
        if not sizes:
            return ()
        seconds = [samples.medians[0] for samples in self.exact.values()]
        return tuple(np.interp(np.arange(1, sizes[-1] + 1), sizes, seconds).tolist())

    @property
    def spread(self) -> float:
        """The largest spread of them."""
        return max(samples.spread for samples in (*self.unet, *self.exact.values(), *self.decodes.values()))


def _alone(work: Workload, sizes: Sequence[int], effort: Effort) -> Generator[Stage, None, Alone]:
    unet: dict[str, Task] = {f"{rows} rows": partial(work.time_unet, rows) for rows in sizes}
    few = work.exact_sizes(sizes)
    exact: dict[str, Task] = {f"{rows} exact rows": partial(work.time_unet, rows, exact=True) for rows in few}
    decodes: dict[str, Task] = {str(name): partial(work.time_decode, name) for name in effort.granularities}
    what = "UNet calls and decodes alone"
    found = yield from rounds(unet | exact | decodes, effort.repeats, what, warm_up=effort.warm_up)
    return Alone(
        [found[name] for name in unet],
        {rows: found[name] for rows, name in zip(few, exact, strict=True)},
        {name: found[name] for name in decodes},
    )


def _with_overlap(work: Workload, profile: Profile, effort: Effort) -> Measuring:
    """Add the contention surface and its executor where running both sides at once saves time (or was asked for)."""
    name = beside_name(work, profile.threads) if effort.executor == "auto" else effort.executor
    if name is None or name == "serial":
        return profile
    beside = make_beside(work, name, profile.threads)
    positions = sorted({0, len(profile.rows) // 2, len(profile.rows) - 1})
    rows = tuple(profile.rows[i] for i in positions)
    try:
        pairs, spread = yield from measure_pairs(work, beside, rows, profile.finest, effort.repeats)
    finally:
        beside.close()
    gain = saved(pairs, tuple(profile.unet_s[i] for i in positions), profile.finest.decode_s)
    if effort.executor == "auto" and gain < WORTH:
        return profile
    return replace(profile, executor=name, pairs=pairs, spread=max(spread, profile.spread))


def profile_of(
    model: LoadedModel,
    width: int,
    height: int,
    *,
    cache_dir: str | Path,
    fresh: bool = False,
    max_rows: int = MAX_ROWS,
    repeats: int = REPEATS,
    executor: str = "auto",
    threads: int = 0,
    config: EngineConfig | None = None,
    progress: Progress = silent,
) -> Profile:
    """Return the profile from disk, or measure and keep it; ``fresh`` measures again. Raises as measuring does."""
    key = cache_key(model, width, height, executor=executor, threads=threads, max_rows=max_rows, config=config)
    path = profile_path(cache_dir, key)
    profile = None if fresh else load_cached(path)
    if profile is None:
        profile = measure_profile(
            model,
            width,
            height,
            max_rows=max_rows,
            repeats=repeats,
            executor=executor,
            threads=threads,
            config=config,
            progress=progress,
        )
        store(path, profile)
    return profile
