"""The continuous batch: samples of one latent shape, resident as tensors, each at its own step.

Membership changes rarely and steps often, so everything that depends on the members alone (text embeddings,
tables, guidance scales) is assembled when they change and only gathered from afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from synerdiff.engine.conditioning import Conditions, Rows, TextRows
from synerdiff.engine.executors import to_device
from synerdiff.engine.model import LoadedModel
from synerdiff.engine.sample import Sample
from synerdiff.engine.samplers import advance, denoised
from synerdiff.engine.schedule import MULTISTEP, Row


@dataclass(slots=True)
class Part:
    """A run of members with the same sampler: ``[start, stop)`` of the batch, and their multistep history."""

    sampler: str
    start: int
    stop: int
    history: Tensor | None

    @property
    def span(self) -> slice:
        """Where the part lies in the batch."""
        return slice(self.start, self.stop)


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """What one UNet call takes: ``latents`` ``[R, C, h, w]`` scaled for the model, ``timesteps`` ``[R]``."""

    latents: Tensor
    timesteps: Tensor
    rows: Rows


class Batch:
    """Samples that share UNet calls. All have latents of one shape, one dtype and one length of context.

    ``text_rows`` and the members ``before`` are those of the batch before, which must not be used any more: whoever can
    keep its place does, and then its text is where it was.
    """

    def __init__(
        self,
        members: Sequence[Sample],
        model: LoadedModel,
        text_rows: TextRows | None = None,
        before: Sequence[Sample] = (),
    ) -> None:
        self.members = _arranged(members, before)
        self._model = model
        self._device = model.device
        self.dtype = self.members[0].shape.dtype
        self.latents = torch.stack([sample.latents for sample in self.members])
        self._parts = _parts(self.members)
        self._columns, self._cursor = _join_tables(self.members, self._device)
        self.conditions = Conditions(self.members, model, text_rows or TextRows())
        self._current: Tensor | None = None

    def __len__(self) -> int:
        return len(self.members)

    def inputs(self, skipping: frozenset[int] = frozenset()) -> Inputs:
        """The rows of the next step: the unconditional rows first, then one conditional row for each member.

        ``skipping`` are the positions of guided members that run no unconditional row this step.
        """
        count = len(self.members)
        self._current = self._columns.index_select(1, self._cursor).view(len(Row), count, 1, 1, 1)
        rows = self.conditions.rows(skipping)
        scaled = self.latents / self._current[Row.DIVISOR]
        timesteps = self._current[Row.TIMESTEP].view(count)
        if rows.unconditional:
            scaled = torch.cat([_select(scaled, rows.index), scaled])
            timesteps = torch.cat([_select(timesteps, rows.index), timesteps])
        return Inputs(scaled.to(self.dtype), timesteps, rows)

    def denoised(self, model_output: Tensor) -> Tensor:
        """The clean latents ``[N, C, h, w]`` that the model's output for this step predicts."""
        columns = self._current
        assert columns is not None, "inputs() comes first"
        x, kind = self.latents, self._model.tables.prediction
        parts = [(part.sampler, part.span) for part in self._parts]
        return torch.cat(
            [denoised(sampler, x[span], model_output[span], columns[:, span], kind) for sampler, span in parts]
        )

    def advance(self, model_output: Tensor) -> None:
        """Take every member one step on with the guided model output ``[N, C, h, w]`` float32."""
        assert self._current is not None, "inputs() comes first"
        done = [self._advance_part(part, model_output, self._current) for part in self._parts]
        self.latents = done[0] if len(done) == 1 else torch.cat(done)
        self._cursor += 1
        for sample in self.members:
            sample.step += 1

    def release(self) -> None:
        """Give every member its latents and history back, before the membership changes."""
        for position, sample in enumerate(self.members):
            sample.latents = self.latents[position]
        for part in self._parts:
            if part.history is not None:
                for sample, history in zip(self.members[part.span], part.history, strict=True):
                    sample.history = history

    def _advance_part(self, part: Part, model_output: Tensor, columns: Tensor) -> Tensor:
        span = part.span
        members = self.members[span]
        noise = self._draw(members) if members[0].stochastic else None
        latents, part.history = advance(
            part.sampler,
            self.latents[span],
            model_output[span],
            columns[:, span],
            self._model.tables.prediction,
            history=part.history,
            noise=noise,
        )
        return latents

    def _draw(self, members: Sequence[Sample]) -> Tensor:
        """Fresh noise, each row from the sample's own generator on the CPU, in the model's ``noise_dtype``."""
        shape = self.latents.shape[1:]
        drawn = [torch.randn(shape, generator=sample.generator, dtype=self._model.noise_dtype) for sample in members]
        return to_device(torch.stack(drawn).float(), self._device)


def _arranged(members: Sequence[Sample], before: Sequence[Sample]) -> list[Sample]:
    """Members by sampler, each where it was ``before`` if that lies in its sampler's part."""
    places = {id(sample): place for place, sample in enumerate(before)}
    parts: dict[str, list[Sample]] = {}
    for sample in members:
        parts.setdefault(sample.table.sampler, []).append(sample)
    arranged: list[Sample] = []
    for _, part in sorted(parts.items()):
        start, stop = len(arranged), len(arranged) + len(part)
        stay = {place: sample for sample in part if start <= (place := places.get(id(sample), -1)) < stop}
        kept = {id(sample) for sample in stay.values()}
        rest = (sample for sample in part if id(sample) not in kept)
        arranged += [stay[place] if place in stay else next(rest) for place in range(start, stop)]
    return arranged


def _select(values: Tensor, index: Tensor | None) -> Tensor:
    return values if index is None else values.index_select(0, index)


def _parts(members: Sequence[Sample]) -> list[Part]:
    parts: list[Part] = []
    start = 0
    for stop in range(1, len(members) + 1):
        sampler = members[start].table.sampler
        if stop < len(members) and members[stop].table.sampler == sampler:
            continue
        parts.append(Part(sampler, start, stop, _history(members[start:stop])))
        start = stop
    return parts


def _history(members: Sequence[Sample]) -> Tensor | None:
    if members[0].table.sampler not in MULTISTEP:
        return None
    blank = torch.zeros_like(members[0].latents)
    return torch.stack([blank if sample.history is None else sample.history for sample in members])


def _join_tables(members: Sequence[Sample], device: torch.device) -> tuple[Tensor, Tensor]:
    """The members' distinct tables side by side, and where in them each member stands."""
    offsets: dict[int, int] = {}
    tables, width = [], 0
    for sample in members:
        if id(sample.table) not in offsets:
            offsets[id(sample.table)] = width
            tables.append(sample.table.values)
            width += sample.table.steps
    cursor = [offsets[id(sample.table)] + sample.step for sample in members]
    return to_device(torch.cat(tables, dim=1), device), to_device(torch.tensor(cursor), device)
