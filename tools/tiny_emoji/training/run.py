"""The parent's side of a run: state, processes, signals, progress."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from multiprocessing import connection
from multiprocessing.process import BaseProcess

import torch
from torch import multiprocessing

from tools.tiny_emoji.background import on_signals
from tools.tiny_emoji.progress import Progress
from tools.tiny_emoji.training import checkpoint
from tools.tiny_emoji.training.checkpoint import SharedState
from tools.tiny_emoji.training.flat import Layout, load, trained
from tools.tiny_emoji.training.schedule import Schedule
from tools.tiny_emoji.training.task import Recipe, Task
from tools.tiny_emoji.training.trainer import Shared, train_in_process

POLL_S = 0.5


class Stopped(Exception):
    """The run was asked to stop; its checkpoint is written and the same command goes on from it."""


def begin(task: Task, recipe: Recipe) -> tuple[SharedState, Schedule]:
    """State from the checkpoint or from fresh weights, and the schedule of the leg that it is in."""
    modules = task.modules()
    layout = Layout.of(modules)
    state = SharedState.zeros(layout.size)
    known: Schedule | None = None
    if recipe.checkpoint.exists():
        known = checkpoint.restore(recipe.checkpoint, layout, state).schedule
    else:
        weights = {name: parameter.detach() for name, parameter in trained(modules).items()}
        load(layout.views(state.weights), weights)
        load(layout.views(state.average), weights)
    if known is not None and known.end == recipe.samples:
        return state, known
    return state, Schedule(state.seen, recipe.samples, recipe.warm, recipe.decay, recipe.floor)


def _share(state: SharedState, recipe: Recipe) -> Shared:
    context, processes = multiprocessing.get_context("spawn"), recipe.processes
    slots = torch.zeros(processes, len(state.weights)).share_memory_()
    norms, losses = torch.zeros(processes).share_memory_(), torch.zeros(processes).share_memory_()
    order = torch.zeros(1, dtype=torch.int64).share_memory_()
    return Shared(state, slots, norms, losses, order, context.Barrier(processes), context.Event())


def train(task: Task, recipe: Recipe, title: str) -> None:
    """Train until the recipe's samples are seen, from the checkpoint if there is one.

    Raises :class:`Stopped` after SIGTERM or SIGINT, :class:`RuntimeError` when a process dies.
    """
    state, schedule = begin(task, recipe)
    if state.seen >= recipe.samples:
        print(f"{title}: {state.seen} samples are seen already")
        return
    shared = _share(state, recipe)
    on_signals(shared.stopping.set, recipe.pause)
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=train_in_process, args=(rank, task, recipe, schedule, shared), daemon=True)
        for rank in range(recipe.processes)
    ]
    for process in processes:
        process.start()
    watch(processes, shared, recipe, schedule, Progress(title, state.seen, recipe.samples, sys.stdout).show)
    if shared.state.seen < recipe.samples:
        raise Stopped(f"{title} stopped at {shared.state.seen} of {recipe.samples} samples; run it again to go on")


def watch(
    processes: Sequence[BaseProcess],
    shared: Shared,
    recipe: Recipe,
    schedule: Schedule,
    show: Callable[[int, str], None],
) -> None:
    """Show progress until every process has ended. Raises :class:`RuntimeError` when one failed."""
    while any(process.is_alive() for process in processes):
        connection.wait([process.sentinel for process in processes if process.is_alive()], POLL_S)
        seen = shared.state.seen
        state = "paused" if recipe.pause.exists() else f"loss {float(shared.losses.mean()):.4f}"
        show(seen, f"step {shared.state.step}  rate x{schedule.factor(seen):.2f}  {state}")
    for process in processes:
        process.join()
    if failed := [process.exitcode for process in processes if process.exitcode]:
        raise RuntimeError(f"training processes ended with {failed}; the last checkpoint is {recipe.checkpoint}")
