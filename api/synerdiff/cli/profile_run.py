"""What ``synerdiff profile`` does once its options are read; imports torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from synerdiff.cli.console import err
from synerdiff.engine.config import EngineConfig
from synerdiff.engine.model import LoadedModel, load_model
from synerdiff.engine.profiler import plot_profile, profile_of
from synerdiff.ledger import Ledger
from synerdiff.policy.batch import batch_cap
from synerdiff.policy.cost import CostModel
from synerdiff.policy.profile import Profile, planning_document, profile_document
from synerdiff.protocol import pool_of
from synerdiff.protocol.errors import FieldError, InvalidJob, LedgerUnavailable, SettingsError
from synerdiff.settings import Settings


def obtain(
    settings: Settings, size: tuple[int | None, int | None], *, max_rows: int, repeats: int, fresh: bool
) -> Profile:
    """Load the model and return its profile, from disk or measured behind a progress bar.

    Raises:
        ModelError: the checkpoint cannot be loaded, or cannot run at this size.
        InvalidJob: the model makes no images of this size.
    """
    with err.status("loading the model"):
        model = load_model(
            settings.model_path,
            name=settings.model,
            device=settings.device,
            revision=settings.model_revision,
            dtype=settings.dtype,
        )
    width, height = size[0] or model.entry.default_width, size[1] or model.entry.default_height
    _check_size(model, width, height)
    config = EngineConfig(capacity=settings.capacity, max_rows=settings.max_rows, unet_rows=settings.unet_rows)
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err) as bar:
        task = bar.add_task("starting")
        return profile_of(
            model,
            width,
            height,
            cache_dir=settings.cache_dir,
            fresh=fresh,
            max_rows=max_rows,
            repeats=repeats,
            executor=settings.executor,
            threads=settings.threads,
            config=config,
            progress=lambda done, total, what: bar.update(task, description=what, completed=done, total=total),
        )


def _check_size(model: LoadedModel, width: int, height: int) -> None:
    multiple = model.entry.latent_multiple
    errors = [
        FieldError(field=name, message=f"{name} must be a multiple of {multiple} for this model; got {value}")
        for name, value in (("width", width), ("height", height))
        if value % multiple
    ]
    if errors:
        raise InvalidJob(errors)


def draw(profile: Profile, path: Path) -> None:
    """Draw the curves. Raises :class:`SettingsError` without matplotlib."""
    try:
        plot_profile(profile, path)
    except ModuleNotFoundError as error:
        raise SettingsError(f"--plot needs {error.name}: pip install 'synerdiff[bench]'", field="plot") from None


def fleet_found(settings: Settings) -> bool:
    """Whether workers of the model run on the Redis of the settings."""
    try:
        return bool(Ledger.connect(settings.redis_url).planning_reports(pool_of(settings.model)))
    except LedgerUnavailable:
        return False


def publish(profile: Profile, settings: Settings) -> None:
    """Write the profile to Redis. Raises :class:`LedgerUnavailable` if it cannot be reached."""
    ledger = Ledger.connect(settings.redis_url)
    ledger.put_profile(profile.profile_id, planning_document(profile))


def row_cap(profile: Profile) -> int:
    """Rows of the smallest batch with at least 96% of the best rows per second."""
    return batch_cap(CostModel(profile)) * profile.rows_per_sample


def document(profile: Profile) -> dict[str, Any]:
    """The profile with its id and row cap, for programs."""
    plain: dict[str, Any] = json.loads(profile_document(profile))
    return {"profile_id": profile.profile_id, "row_cap": row_cap(profile), **plain}


def tables(profile: Profile) -> list[Table]:
    """The profile for a person."""
    return [_choices(profile), _unet(profile), _vae(profile), *_pairs(profile)]


def _choices(profile: Profile) -> Table:
    table = Table(title=f"{profile.model} {profile.width}x{profile.height}, {profile.device}", show_header=False)
    lines = {
        "profile": profile.profile_id,
        "executor": profile.executor,
        "threads": str(profile.threads or "the device's"),
        "memory format": profile.memory_format,
        "dtype": profile.dtype,
        "rows of UNet calls": profile.unet_rows,
        "row cap": str(row_cap(profile)),
        "slot bookkeeping": f"{profile.slot_s * 1000:.2f} ms",
        "text encoding": f"{profile.encode_s * 1000:.2f} ms",
        "largest spread": f"{profile.spread:.0%} between the quartiles",
    }
    for name, value in lines.items():
        table.add_row(name, value)
    return table


def _unet(profile: Profile) -> Table:
    table = Table("rows", "ms a call", "rows a second", title="UNet call alone")
    for rows, seconds in zip(profile.rows, profile.unet_s, strict=True):
        table.add_row(str(rows), f"{seconds * 1000:.1f}", f"{rows / seconds:.1f}")
    return table


def _vae(profile: Profile) -> Table:
    table = Table("granularity", "chunks", "ms a decode", "largest chunk", title="VAE decode alone")
    for cut in profile.granularities:
        largest = max(cut.chunk_s)
        share = f"{largest * 1000:.1f} ms, {largest / cut.decode_s:.0%}"
        table.add_row(cut.name, str(len(cut.chunk_s)), f"{cut.decode_s * 1000:.1f}", share)
    return table


def _pairs(profile: Profile) -> list[Table]:
    if profile.pairs is None:
        return []
    table = Table("rows", "decodes beside", "UNet done, ms", "chunks done, ms", title="both at once")
    for i, rows in enumerate(profile.pairs.rows):
        for j, decodes in enumerate(profile.pairs.decodes):
            sides = (profile.pairs.unet_s[i][j], profile.pairs.vae_s[i][j])
            table.add_row(str(rows), f"{decodes:.2f}", *(f"{seconds * 1000:.1f}" for seconds in sides))
    return [table]
