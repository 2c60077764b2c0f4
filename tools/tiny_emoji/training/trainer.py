"""Data-parallel training on a few CPU cores: processes of one thread that share one set of weights.

Faster than one process of as many threads on models this small. Every process takes its share of a batch, then
averages, clips and applies the gradients of the weights it owns. Process 0 decides, between steps, whether to rest, to
save or to stop; a barrier tells the others.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntFlag
from multiprocessing.synchronize import Barrier, Event

import torch
from torch import Tensor, nn

from tools.tiny_emoji.background import (
    die_with_parent,
    leave_signals_to_parent,
    quiet_libraries,
    wait_while_paused,
    yield_to_others,
)
from tools.tiny_emoji.training import checkpoint
from tools.tiny_emoji.training.checkpoint import SharedState
from tools.tiny_emoji.training.flat import Layout, attach, trained
from tools.tiny_emoji.training.muon import Muon
from tools.tiny_emoji.training.schedule import Schedule
from tools.tiny_emoji.training.task import Recipe, Task, share

_LARGEST_NORM = 1.0


class Order(IntFlag):
    """What process 0 tells all of them to do before the next step."""

    GO = 0
    SAVE = 1
    STOP = 2


@dataclass(frozen=True, slots=True)
class Shared:
    """What the processes share. ``slots`` ``[processes, size]`` holds gradients, ``norms`` squared norms,
    ``losses`` each process's last loss, ``order`` one :class:`Order`."""

    state: SharedState
    slots: Tensor
    norms: Tensor
    losses: Tensor
    order: Tensor
    barrier: Barrier
    stopping: Event


class Trainer:
    """One process's side of a run."""

    def __init__(self, rank: int, task: Task, recipe: Recipe, schedule: Schedule, shared: Shared) -> None:
        self._rank, self._task, self._recipe, self._schedule, self._shared = rank, task, recipe, schedule, shared
        modules = task.modules()
        self._modules = modules
        self._layout = Layout.of(modules)
        self._weights = self._layout.views(shared.state.weights)
        attach(modules, self._weights)
        self._parameters = trained(modules)
        self._work = task.work(modules)
        own = self._own(shared.state.weights), self._own(shared.state.first), self._own(shared.state.second)
        self._optimizer = Muon(*own, recipe.rates)
        self._own_average = self._own(shared.state.average)
        self._step, self._seen = shared.state.step, shared.state.seen
        self._saved_at, self._exported = time.monotonic(), self._seen

    def _own(self, flat: Tensor) -> dict[str, Tensor]:
        views = self._layout.views(flat)
        return {name: views[name] for name in self._layout.shares(self._recipe.processes)[self._rank]}

    def run(self) -> None:
        """Step until the samples are seen or a stop is asked for; both end with a checkpoint."""
        while True:
            if self._rank == 0:
                self._shared.order[0] = self._decide()
            self._shared.barrier.wait()
            order = Order(int(self._shared.order[0]))
            if Order.SAVE in order:
                if self._rank == 0:
                    self._save()
                self._shared.barrier.wait()
            if Order.STOP in order:
                return
            self._take_step()

    def _decide(self) -> Order:
        self._shared.state.counters.copy_(torch.tensor([self._step, self._seen]))
        wait_while_paused(self._recipe.pause, self._shared.stopping.is_set)
        if self._done or self._shared.stopping.is_set():
            return Order.SAVE | Order.STOP
        due = time.monotonic() - self._saved_at >= self._recipe.checkpoint_s
        return Order.SAVE if due or self._export_due else Order.GO

    @property
    def _done(self) -> bool:
        return self._seen >= self._recipe.samples

    @property
    def _export_due(self) -> bool:
        every = self._recipe.export_every
        return self._done or (bool(every) and self._seen // every > self._exported // every)

    def _take_step(self) -> None:
        progress = self._schedule.progress(self._seen)
        batch, processes = self._task.batch(progress), self._recipe.processes
        count = batch // processes
        mine = share(self._recipe.seed, self._step, self._rank, self._seen + self._rank * count, count, progress)
        loss = self._work.loss(mine)
        self._offer_gradients(loss)
        gradients = self._own_gradients()
        self._optimizer.step(gradients, self._schedule.factor(self._seen), self._step + 1)
        self._step, self._seen = self._step + 1, self._seen + count * processes
        decay = min(self._recipe.average, (self._step + 1) / (self._step + 20))
        fresh = [self._weights[name] for name in self._own_average]
        with torch.no_grad():
            torch._foreach_lerp_(list(self._own_average.values()), fresh, 1 - decay)

    def _offer_gradients(self, loss: Tensor) -> None:
        for parameter in self._parameters.values():
            parameter.grad = None
        loss.backward()
        self._shared.losses[self._rank] = loss.detach()
        for name, slot in self._layout.views(self._shared.slots[self._rank]).items():
            gradient = self._parameters[name].grad
            if gradient is None:
                slot.zero_()
            else:
                slot.copy_(gradient)
        self._shared.barrier.wait()

    def _own_gradients(self) -> dict[str, Tensor]:
        """The mean gradients of owned weights, clipped by the norm over all of them."""
        views = [self._layout.views(slot) for slot in self._shared.slots]
        mean = {name: torch.stack([view[name] for view in views]).mean(0) for name in self._own_average}
        self._shared.norms[self._rank] = sum(float(gradient.square().sum()) for gradient in mean.values())
        self._shared.barrier.wait()
        scale = min(1.0, _LARGEST_NORM / (float(self._shared.norms.sum()) ** 0.5 + 1e-6))
        torch._foreach_mul_(list(mean.values()), scale)
        return mean

    def _save(self) -> None:
        checkpoint.save(self._recipe.checkpoint, self._layout, self._shared.state, self._schedule, self._task.extras())
        if self._export_due:
            modules = averaged(self._task, self._layout, self._shared.state)
            self._task.export(modules, self._seen, last=self._done)
            self._exported = self._seen
        self._saved_at = time.monotonic()


def averaged(task: Task, layout: Layout, state: SharedState) -> Mapping[str, nn.Module]:
    """The task's modules with the averaged weights, apart from those that train."""
    modules = task.modules()
    views = layout.views(state.average)
    for name, parameter in trained(modules).items():
        parameter.data.copy_(views[name])
    return modules


def train_in_process(rank: int, task: Task, recipe: Recipe, schedule: Schedule, shared: Shared) -> None:
    """Body of one process. An error breaks the barrier, so that no other process waits for this one for ever."""
    die_with_parent()
    leave_signals_to_parent()
    yield_to_others()
    quiet_libraries()
    torch.set_num_threads(1)
    try:
        Trainer(rank, task, recipe, schedule, shared).run()
    except BaseException:
        shared.barrier.abort()
        raise
