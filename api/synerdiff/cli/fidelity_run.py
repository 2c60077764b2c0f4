"""What ``synerdiff fidelity`` does once its options are read; imports torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from synerdiff.cli.console import err
from synerdiff.engine.calibration import FILE_NAME, encode
from synerdiff.engine.calibration_search import calibrate as search
from synerdiff.engine.fidelity import FLOORS, Study, shipped_prompts
from synerdiff.engine.fidelity_run import Scenario, Studio
from synerdiff.engine.model import LoadedModel, load_model, shipped_path
from synerdiff.engine.schedule import STOCHASTIC
from synerdiff.protocol.errors import ModelError
from synerdiff.protocol.job import SAMPLERS

Number = TypeVar("Number", int, float)


def scenarios(samplers: str, steps: str, guidance: str, seeds: str) -> list[Scenario]:
    """Every sampler with every number of steps and base seed. Raises ``typer.BadParameter`` naming the option."""
    names = [name.strip() for name in samplers.split(",") if name.strip()]
    allowed = [name for name in SAMPLERS if name not in STOCHASTIC]
    for name in names:
        if name not in allowed:
            raise typer.BadParameter(f"samplers: {name!r} is none of {', '.join(allowed)}")
    scales = tuple(_numbers("guidance", guidance, float, 1.0, 50.0))
    return [
        Scenario(name, count, scales, seed)
        for name in names
        for count in _numbers("steps", steps, int, 1, 150)
        for seed in _numbers("seeds", seeds, int, 0, 2**62)
    ]


def _numbers(option: str, text: str, kind: Callable[[str], Number], low: Number, high: Number) -> list[Number]:
    try:
        values = [kind(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise typer.BadParameter(f"{option} must be numbers separated by commas; got {text!r}") from None
    if not values or not all(low <= value <= high for value in values):
        raise typer.BadParameter(f"{option} must be from {low} to {high}; got {text!r}")
    return values


def read_prompts(path: Path | None) -> list[str]:
    """A prompt a line, or the held-out list. Raises ``typer.BadParameter``."""
    if path is None:
        return shipped_prompts("held_out")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"prompts: {path} cannot be read: {error}") from None
    prompts = [line.strip() for line in lines if line.strip()]
    if not prompts:
        raise typer.BadParameter(f"prompts: {path} holds none")
    return prompts


def load(model: str | None, device: str, threads: int, dtype: str = "auto") -> tuple[LoadedModel, Path]:
    """The model and its directory."""
    directory = shipped_path() if model is None else Path(model).expanduser()
    with err.status("loading the model"):
        loaded = load_model(directory, name=directory.name, device=device, threads=threads, dtype=dtype)
    loaded.unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster, equal up to rounding
    return loaded, directory


def calibrate(model: LoadedModel, directory: Path) -> Path:
    """Calibrate on the calibration prompts, write the file beside the model, and use it from here on."""
    path = directory / FILE_NAME
    with Progress(TextColumn("{task.description}"), TimeElapsedColumn(), console=err) as bar:
        task = bar.add_task("calibrating", total=None)
        studio = Studio(model, shipped_prompts("calibration"))
        model.calibration = search(studio, tick=lambda what: bar.update(task, description=f"calibrating: {what}"))
    try:
        path.write_text(encode(model.calibration), encoding="utf-8")
    except OSError as error:
        raise ModelError(f"the calibration cannot be written to {path}: {error}") from error
    return path


def study(model: LoadedModel, prompts: Sequence[str], settings: Sequence[Scenario], frontier: bool) -> dict[str, Any]:
    """Measure behind a progress bar; returns the document that ``--json`` writes."""
    columns = (TextColumn("{task.description:<60.60}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    runs = len(settings) * (6 + 44 * frontier)
    with Progress(*columns, console=err) as bar:
        task = bar.add_task("measuring", total=runs)
        work = Study(Studio(model, prompts), settings, lambda what: bar.update(task, advance=1, description=what))
        document = {
            "model": model.name,
            "model_hash": model.model_hash,
            "calibrated": model.calibration.model_hash == model.model_hash,
            "prompts": len(prompts),
            "scenarios": [scenario.label for scenario in settings],
            "classes": work.classes(model.calibration),
            "yardsticks": work.yardsticks(),
            "frontier": [],
        }
        if frontier:
            learner = Studio(model, shipped_prompts("calibration"))
            document["frontier"] = work.frontier(model.calibration, learner)
        bar.update(task, completed=runs)
    return document


def table(document: dict[str, Any]) -> Table:
    """The document for a person."""
    shown = Table(title=f"{document['model']}: {document['prompts']} prompts, {len(document['scenarios'])} settings")
    shown.add_column("mean / worst")
    for heading in ("rows saved", "PSNR (dB)", "SSIM", "perceptual", "SSIM floor"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for entry in document["classes"]:
        floor = FLOORS.get(entry["quality"])
        met = "" if floor is None else f"{floor[0]} / {floor[1]} {'met' if entry['floor_met'] else 'MISSED'}"
        shown.add_row(entry["quality"], *_cells(entry), met)
    shown.add_section()
    for entry in [*document["yardsticks"], *document["frontier"]]:
        shown.add_row(f"{entry['criterion']} {entry['setting']}".strip(), *_cells(entry), "")
    if not document["calibrated"]:
        shown.caption = "Nobody calibrated this model: default limits. `--calibrate` finds its own."
    return shown


def _cells(entry: dict[str, Any]) -> list[str]:
    measures = (("psnr", 1), ("ssim", 3), ("perceptual", 3))
    pairs = [f"{entry[name]['mean']:.{digits}f} / {entry[name]['worst']:.{digits}f}" for name, digits in measures]
    return [f"{entry['rows_skipped']:.1%}", *pairs]
