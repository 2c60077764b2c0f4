"""Admission: the waiting images that fit join their shape's group, the most urgent first.

A request is checked when it is first considered and its texts are encoded when its first image joins, both
between two steps. Where a group is full, images of less urgent jobs are set aside for a more urgent one and go
on later from where they stood.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from synerdiff.engine.config import EngineConfig
from synerdiff.engine.groups import Group, Groups
from synerdiff.engine.guidance import Guidance
from synerdiff.engine.memory import RowLimits
from synerdiff.engine.model import LoadedModel
from synerdiff.engine.queue import AdmissionQueue, Checked, Pending
from synerdiff.engine.sample import Sample, initial_latents
from synerdiff.engine.schedule import Table
from synerdiff.engine.shape import Shape
from synerdiff.engine.snapshot import decode, restore
from synerdiff.engine.text import Conditioning, TextEncoder
from synerdiff.engine.types import Admitted, Request, SetAside
from synerdiff.protocol.errors import ErrorInfo, FieldError, InvalidJob


@dataclass(slots=True)
class Filled:
    """What one round of admission did: images that began (one that was denoised before is done already), what
    there is to tell of jobs, and jobs the model cannot do."""

    samples: list[Sample] = field(default_factory=list)
    events: list[Admitted | SetAside] = field(default_factory=list)
    refused: dict[str, ErrorInfo] = field(default_factory=dict)


class Admission:
    """Moves images from the queue into ``groups`` as far as caps and memory allow."""

    def __init__(
        self,
        model: LoadedModel,
        config: EngineConfig,
        guidance: Guidance,
        groups: Groups,
        limits: RowLimits,
        clock: Callable[[], float],
    ) -> None:
        self._model = model
        self._max_rows = config.max_rows
        self._guidance = guidance
        self._groups = groups
        self._limits = limits
        self._clock = clock
        self._queue = AdmissionQueue()
        self._text = TextEncoder(
            model,
            cache_size=config.embedding_cache,
            chunk_long=config.long_prompts == "chunk",
            weighted=config.prompt_weights == "compel",
        )

    @property
    def waiting(self) -> int:
        """Images that have not joined."""
        return len(self._queue)

    def has_left(self, job_id: str) -> bool:
        """Whether images of a job wait for a place."""
        return job_id in self._queue and self._queue[job_id].left > 0

    def add(self, request: Request, kept: bytes | None = None) -> None:
        """Queue a request behind those of its priority; ``kept`` is a latent checkpoint to go on from."""
        self._queue.add(request, kept)

    def remove(self, job_id: str) -> None:
        """Forget a job, and what still waits of it."""
        self._queue.remove(job_id)

    def fill(self, batch_cap: int) -> Filled:
        """Let images join, at most ``batch_cap`` to a group.

        Once an image finds its group full, later ones of that shape wait behind it; other shapes do not.
        """
        filled = Filled()
        full: set[Shape] = set()
        for pending in self._queue.in_order(self._clock()):
            try:
                self._join_images(pending, batch_cap, full, filled)
            except InvalidJob as error:
                filled.refused[pending.request.job_id] = error.info
        return filled

    def start(self, request: Request, index: int, table: Table, conditioning: Conditioning, shape: Shape) -> Sample:
        """Put image ``index`` of a request at its first step into its group."""
        sample = self._begin(request, index, table, conditioning, shape)
        self._groups.add(shape, sample)
        return sample

    def _begin(self, request: Request, index: int, table: Table, conditioning: Conditioning, shape: Shape) -> Sample:
        generator, latents = initial_latents(request, index, table, self._model)
        sample = Sample(request, index, table, conditioning, generator, latents, shape)
        if conditioning.negative is not None:
            replay = None if request.replay is None else request.replay[index]
            sample.guidance = self._guidance.begin(table, request.guidance_scale, request.quality, replay)
        return sample

    def _join_images(self, pending: Pending, batch_cap: int, full: set[Shape], filled: Filled) -> None:
        pending.checked = checked = pending.checked or self._check(pending.request)
        if pending.kept is not None:
            pending.saved, pending.kept = decode(pending.kept, pending.request, self._model), None
        while pending.left:
            shape = pending.aside[0].shape if pending.aside else checked.shape
            if shape in full:
                return
            if not self._has_room(shape, pending.request, batch_cap) and not self._make_room(
                shape, pending, batch_cap, filled
            ):
                full.add(shape)
                return
            if pending.aside:
                self._groups.add(shape, pending.take_back(self._clock()))
            else:
                filled.samples.append(self._join_next(pending, checked, filled))

    def _join_next(self, pending: Pending, checked: Checked, filled: Filled) -> Sample:
        """The next image of a request joins at its first step, or where a checkpoint left it."""
        if pending.conditioning is None:
            pending.conditioning, pending.encode_s = self._encode(pending.request)
            resumed = min((saved.step for saved in pending.saved.values()), default=0)
            filled.events.append(Admitted(pending.request.job_id, pending.encode_s, resumed))
        saved = pending.saved.get(pending.next_index)
        shape = checked.shape.in_float32() if saved is not None and saved.float32 else checked.shape
        sample = self._begin(pending.request, pending.next_index, checked.table, pending.conditioning, shape)
        sample.encode_s, sample.admitted_at = pending.encode_s, self._clock()
        if saved is not None:
            restore(sample, saved, self._model.device, self._clock())
        if not sample.done:
            self._groups.add(shape, sample)
        pending.next_index += 1
        return sample

    def _make_room(self, shape: Shape, pending: Pending, batch_cap: int, filled: Filled) -> bool:
        """Set aside as many images of less urgent jobs as it takes for one of ``pending``, if that is enough."""
        now = self._clock()
        leaving: list[Sample] = []
        for sample in self._less_urgent(shape, pending.level(now), now):
            leaving.append(sample)
            if self._has_room(shape, pending.request, batch_cap, leaving):
                filled.events += self._set_aside(leaving, now, rises=True)
                return True
        return False

    def halve(self, group: Group) -> list[SetAside]:
        """Set the less urgent half of a group aside, whose step found no memory as a whole."""
        now = self._clock()
        self._limits.failed(group.shape, group.rows)
        ranked = sorted(group.samples, key=lambda sample: (self._queue[sample.job_id].level(now), sample.step))
        return self._set_aside(ranked[: len(ranked) // 2], now, rises=False)

    def _set_aside(self, leaving: Sequence[Sample], now: float, *, rises: bool) -> list[SetAside]:
        self._groups.remove(leaving.__contains__)
        for sample in leaving:
            self._queue[sample.job_id].set_aside(sample, now, rises=rises)
        return [SetAside(sample.job_id) for sample in leaving]

    def _less_urgent(self, shape: Shape, level: int, now: float) -> list[Sample]:
        """The images of a group that may leave for a job of ``level``: the least urgent, then the least done first."""
        group = self._groups.get(shape)
        found = [(self._queue[sample.job_id], sample) for sample in (group.samples if group else [])]
        victims = [
            (pending.level(now), sample.step, -pending.order, sample)
            for pending, sample in found
            if pending.may_leave and pending.level(now) < level
        ]
        return [sample for *_, sample in sorted(victims, key=lambda victim: victim[:3])]

    def _check(self, request: Request) -> Checked:
        check(request, self._model)
        table = self._model.tables.get(request.sampler, request.steps)
        guided = self._guided(request)
        chunks = self._text.chunk_count(request.prompt, request.negative_prompt, guided=guided)
        scale = self._model.entry.latent_multiple
        return Checked(table, Shape(request.height // scale, request.width // scale, chunks, self._model.dtype))

    def _guided(self, request: Request) -> bool:
        """Whether a full step takes an unconditional row: as the pipelines decide it."""
        return request.guidance_scale > 1 and self._model.guidance_width is None

    def _has_room(self, shape: Shape, request: Request, batch_cap: int, without: Sequence[Sample] = ()) -> bool:
        """Whether one more image fits into a group, once those in ``without`` have left it."""
        group = self._groups.get(shape)
        if group is None or len(without) == len(group.samples):
            return True
        rows = group.rows - sum(sample.rows for sample in without) + (2 if self._guided(request) else 1)
        fits_memory = rows <= (self._limits.limit(shape) or rows)
        return len(group.samples) - len(without) < batch_cap and rows <= (self._max_rows or rows) and fits_memory

    def _encode(self, request: Request) -> tuple[Conditioning, float]:
        begun = self._clock()
        guided = self._guided(request)
        conditioning = self._text.encode(request.prompt, request.negative_prompt, guided=guided)
        return conditioning, self._clock() - begun


def check(request: Request, model: LoadedModel) -> None:
    """Refuse what this model cannot do. Raises :class:`InvalidJob` naming field, limit and value."""
    multiple, samplers = model.entry.latent_multiple, model.entry.samplers
    errors = [
        FieldError(field=name, message=f"{name} must be a positive multiple of {multiple}; got {side}")
        for name, side in (("width", request.width), ("height", request.height))
        if side <= 0 or side % multiple
    ]
    errors += [
        FieldError(field=name, message=f"{name} must be at least 1; got {count}")
        for name, count in (("steps", request.steps), ("n", request.n))
        if count < 1
    ]
    if request.sampler not in samplers:
        message = f"sampler must be one of {', '.join(samplers)} for {model.name}; got {request.sampler!r}"
        errors.append(FieldError(field="sampler", message=message))
    if request.replay is not None and len(request.replay) != request.n:
        message = f"replay must list steps for each of {request.n} images; got {len(request.replay)}"
        errors.append(FieldError(field="replay", message=message))
    if errors:
        raise InvalidJob(errors)
