"""Measure a profile, from the setup to the contention surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from synerdiff.engine.decode import GRANULARITIES
from synerdiff.engine.executors import row_buckets
from synerdiff.engine.memory import is_out_of_memory
from synerdiff.engine.model import LoadedModel
from synerdiff.policy.profile import Granularity, Profile
from synerdiff.protocol.errors import ModelError

from .cache import cache_key, load_cached, profile_path, software, store
from .contention import WORTH, beside_name, make_beside, measure_pairs, saved
from .device import device_label, dtype_name
from .overhead import measure_overheads
from .rounds import Progress, Samples, Task, interleave, silent
from .setup import apply_setup, choose_setup
from .workload import STEPS, Workload

MAX_ROWS = 32
REPEATS = 5


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
    progress: Progress = silent,
) -> Profile:
    """Measure one model at one size on its device, and leave the model in the setup that was found best.

    Args:
        max_rows: the largest UNet call to measure; fewer if memory ends before.
        granularities: ways to cut a decode, from coarse to fine.
        repeats: rounds, after one to warm up; a figure is the median over them.
        executor: ``auto`` measures both sides at once and keeps that only where it saves time.
        threads: torch threads; 0 tries one and all.

    Raises:
        ModelError: the model cannot make images of this size here.
    """
    work = Workload(model, width, height)
    sizes, full = fitting_rows(work, max_rows)
    setup = choose_setup(work, threads, sizes[-1], min(repeats, 3), progress)
    apply_setup(model, setup)
    unet, vae = _measure_alone(work, sizes, granularities, repeats, progress)
    cuts = tuple(Granularity(name, samples.medians) for name, samples in vae.items())
    unet_s = tuple(samples.medians[0] for samples in unet.values())
    overheads = measure_overheads(work, sizes, unet_s)
    profile = Profile(
        model=model.name,
        device=device_label(model.device),
        dtype=dtype_name(model),
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
        spread=max(samples.spread for samples in (*unet.values(), *vae.values())),
    )
    return _with_overlap(work, profile, executor, repeats, progress)


def fitting_rows(work: Workload, max_rows: int) -> tuple[tuple[int, ...], bool]:
    """The row counts to measure, and whether memory ended before ``max_rows``."""
    sizes: list[int] = []
    for rows in row_buckets(max_rows):
        try:
            work.time_unet(rows)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or not sizes:
                raise ModelError(f"a UNet call of {rows} rows at {work.width}x{work.height} failed: {error}") from error
            return tuple(sizes), True
        sizes.append(rows)
    return tuple(sizes), False


def _measure_alone(
    work: Workload, sizes: Sequence[int], names: Sequence[str], repeats: int, progress: Progress
) -> tuple[dict[int, Samples], dict[str, Samples]]:
    calls: dict[int | str, Task] = {rows: partial(work.time_unet, rows) for rows in sizes}
    decodes: dict[int | str, Task] = {str(name): partial(work.time_decode, name) for name in names}
    found = interleave(calls | decodes, repeats, progress, "UNet calls and decodes alone")
    return {rows: found[rows] for rows in sizes}, {str(name): found[str(name)] for name in names}


def _with_overlap(work: Workload, profile: Profile, executor: str, repeats: int, progress: Progress) -> Profile:
    """Add the contention surface and its executor where running both sides at once saves time (or was asked for)."""
    name = beside_name(work, profile.threads) if executor == "auto" else executor
    if name is None or name == "serial":
        return profile
    beside = make_beside(work, name, profile.threads)
    positions = sorted({0, len(profile.rows) // 2, len(profile.rows) - 1})
    rows = tuple(profile.rows[i] for i in positions)
    try:
        pairs, spread = measure_pairs(work, beside, rows, profile.finest, repeats, progress)
    finally:
        beside.close()
    gain = saved(pairs, tuple(profile.unet_s[i] for i in positions), profile.finest.decode_s)
    if executor == "auto" and gain < WORTH:
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
    progress: Progress = silent,
) -> Profile:
    """Return the profile from disk, or measure and keep it; ``fresh`` measures again. Raises as measuring does."""
    key = cache_key(model, width, height, executor=executor, threads=threads, max_rows=max_rows)
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
            progress=progress,
        )
        store(path, profile)
    return profile
