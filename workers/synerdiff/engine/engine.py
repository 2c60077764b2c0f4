"""The engine loop: admit, then plan a slot, run it, retire what finished.

A slot is one UNet call over one shape group (or none) and some decode chunks beside it. Images join and
leave between any two slots, and what happens to one of them never touches its neighbours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import torch

from synerdiff.engine.admission import Admission
from synerdiff.engine.batch import Batch
from synerdiff.engine.config import EngineConfig
from synerdiff.engine.decode import GRANULARITIES
from synerdiff.engine.decoding import DecodeQueue
from synerdiff.engine.denoise import UNetCall, call_unet, fixed_rows_unet, guide, own_shape
from synerdiff.engine.executors import Executor, make_executor
from synerdiff.engine.groups import Group, Groups
from synerdiff.engine.guidance import Guidance
from synerdiff.engine.image import pixel_rows
from synerdiff.engine.jobs import Jobs
from synerdiff.engine.keeping import Keeping
from synerdiff.engine.leaving import Arrived, Leaving
from synerdiff.engine.memory import RowLimits, is_out_of_memory, release_cached
from synerdiff.engine.model import LoadedModel
from synerdiff.engine.preview import Previews
from synerdiff.engine.sample import Sample
from synerdiff.engine.shape import Shape
from synerdiff.engine.slots import Ran, Slot, SlotReports
from synerdiff.engine.types import (
    Event,
    ImageReady,
    ImageTimings,
    JobFailed,
    Parted,
    Request,
    SetAside,
    Waits,
)
from synerdiff.policy import Action, PlanView, Profile, default_plan
from synerdiff.policy.width import Width
from synerdiff.protocol.errors import ErrorInfo, NonFiniteImage, OutOfMemory, PlanError, SynerDiffError
from synerdiff.protocol.job import QUALITIES


class Engine:
    """Step-level continuous batching of one model on one device. Use it from one thread.

    ``plan`` decides each slot; without one every decode runs alone and at once and ``config.capacity`` caps the
    batch.
    """

    def __init__(
        self,
        model: LoadedModel,
        config: EngineConfig | None = None,
        plan: PlanView | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.model = model
        self.config = config or EngineConfig()
        self._plan = plan or default_plan(self.config.capacity)
        self._clock = clock
        self._guidance = Guidance(model.calibration, model.tables.prediction)
        self._executor: Executor = make_executor(self.config.executor, model.device)
        self._limits = RowLimits()
        self._width = Width()
        self._jobs = Jobs()
        self._groups = Groups()
        self._decodes = DecodeQueue(model, clock)
        self._leaving = Leaving(model.device, as_float=self.config.float_images)
        self._unet = fixed_rows_unet(model, self.config)
        self._previews = Previews(model, self.config.preview_s, clock)
        self._admission = Admission(model, self.config, self._guidance, self._groups, self._limits, clock)
        self._reports = SlotReports()
        self._starved = False  # since the last step that was made
        self._torn = False  # a step has begun to change its samples and has not ended
        self._keeping = Keeping(model, self.config, self._jobs, self._groups, clock)

    @property
    def active(self) -> int:
        """Images that are being denoised."""
        return len(self._groups)

    @property
    def waiting(self) -> int:
        """Images that have not joined the batch yet."""
        return self._admission.waiting

    @property
    def decoding(self) -> int:
        """Images that are denoised and wait for their pixels."""
        return len(self._decodes) + len(self._leaving)

    @property
    def free(self) -> int:
        """Images that may still be admitted."""
        return max(0, self.config.capacity - self.active - self.waiting - self.decoding)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.active or self.waiting or self.decoding)

    def admit(self, request: Request, kept: bytes | None = None) -> None:
        """Queue a job; its texts are encoded and its noise is drawn when its images join.

        With ``kept``, the data of a :class:`Snapshot`, they go on from there; one that does not fit is not used.
        What is wrong with it comes as a :class:`JobFailed` event. A job id that the engine holds already is
        ignored.
        """
        if request.job_id not in self._jobs:
            self._jobs.add(request)
            self._admission.add(request, kept)

    def cancel(self, job_id: str) -> None:
        """Forget a job wherever it is; no event will name it any more."""
        self._admission.remove(job_id)
        self._groups.remove(lambda sample: sample.job_id == job_id)
        self._decodes.remove(lambda sample: sample.job_id == job_id)
        self._leaving.remove(lambda sample: sample.job_id == job_id)
        self._previews.forget(job_id)
        self._jobs.forget(job_id)

    @torch.inference_mode()
    def part(self, job_id: str) -> Parted:
        """Give a job up, with what is done of it; no further event will name it."""
        parted = Parted(job_id, self._keeping.take(job_id))
        self.cancel(job_id)
        return parted

    def close(self) -> None:
        """Give back threads and streams."""
        self._executor.close()

    def set_plan(self, plan: PlanView) -> None:
        """Follow another plan from the next slot on.

        Raises :class:`PlanError` where it cuts decodes in a way that is unknown here; the plan before stays.
        """
        for name in plan.table.granularities:
            if name not in GRANULARITIES:
                known = ", ".join(GRANULARITIES)
                raise PlanError(f"granularities must be among {known}; got {name!r:.40}", field="granularities")
        self._plan = plan

    def predict_by(self, profile: Profile) -> None:
        """Say in each slot's report what the slot should have taken by this profile."""
        self._reports.predict_by(profile)

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Admit what fits, run one slot, and return what happened; empty only when idle."""
        events = self._admit()
        if not (self.active or self.decoding):
            return events
        begun = self._clock()
        slot = self._plan_slot()
        ran = self._run_slot(slot)
        self._reports.began(ran.slot, slot.predicted_s)
        if slot.group is not None and ran.starved:
            events += self._ease(slot, slot.group)
        elif slot.group is not None:
            stepped = [sample.job_id for sample in slot.group.samples]
            self._keeping.stepped(self._clock() - begun, self._groups.count)
            events += self._retire_samples(slot, slot.group, ran)
            events += self._keeping.due(stepped)
        events += self._previews.pop()
        events += self._retire_images()
        events += self._waits(events)
        measured_s = self._clock() - begun
        events.append(self._reports.report(ran, measured_s, active=self.active, waiting=self.decoding))
        return events

    def _admit(self) -> list[Event]:
        if self._decodes.bytes >= self.config.decode_queue_bytes:
            return []
        admitted = self._admission.fill(self._width.samples(self._plan.batch_cap))
        for sample in admitted.samples:
            self._jobs.joined(sample)
        denoised = [event for sample in admitted.samples if sample.done for event in self._denoised(sample)]
        return [*admitted.events, *denoised, *(self._fail(job_id, error) for job_id, error in admitted.refused.items())]

    # Plan

    def _plan_slot(self) -> Slot:
        group, table = self._groups.next(), self._plan.table
        skipping = frozenset() if group is None else self._skipping(group)
        rows = 0 if group is None else group.rows - len(skipping)
        waiting = self._decodes.chunks_left(table)
        action = table.action_for_rows(rows, waiting)
        if self._starved and group is not None:
            action = Action(True, action.granularity, 0)
        steps = action.run_unet and group is not None
        if not steps and not (action.chunks and waiting):
            # A table knows the states it was built for; whatever it says, a slot gets something done.
            steps = group is not None
            action = Action(steps, action.granularity, 0 if steps else table.chunks_per_decode)
        predicted_s = self._predict(group if steps else None, rows, action, waiting)
        return Slot(group if steps else None, skipping, self._decodes.work(action, table), predicted_s)

    def _predict(self, group: Group | None, rows: int, action: Action, waiting: int) -> float:
        """Seconds of a slot by the profile; 0 where that does not tell."""

        def fit(size_fits: Callable[[int, int], bool]) -> bool:
            return self._decodes.all_fit(size_fits) and (group is None or size_fits(*group.size(self.model)))

        return self._reports.expected_s(0 if group is None else rows, action, self._plan.table, waiting, fit)

    def _skipping(self, group: Group) -> frozenset[int]:
        """Positions of the members that skip the unconditional pass at their next step."""
        jobs = len(self._jobs)
        allowed = {quality: self._plan.allows_skip(quality, jobs) for quality in QUALITIES}
        return frozenset(
            position
            for position, sample in enumerate(group.batch(self.model).members)
            if sample.guidance is not None
            and self._guidance.skips(sample.guidance, allowed.get(sample.request.quality, False))
        )

    # Run

    def _run_slot(self, slot: Slot) -> Ran:
        group, splits = slot.group, self._limits.splits
        call = None if group is None else partial(self._step_group, group, slot.skipping)
        outcome = self._executor.run(call, slot.decodes)
        if outcome.unet_error is not None and group is not None and is_out_of_memory(outcome.unet_error):
            self._starved = True
            return Ran(outcome.slot, 0, sum(outcome.chunks), outcome.times, frozenset(), starved=True)
        outcome.check()
        self._starved = self._starved and group is None
        rows, unfit = outcome.unet or (0, frozenset())
        skipped = len(slot.skipping) if group is not None else 0
        splits = self._limits.splits - splits
        return Ran(outcome.slot, rows, sum(outcome.chunks), outcome.times, unfit, skipped, splits)

    def _step_group(self, group: Group, skipping: frozenset[int]) -> tuple[int, frozenset[int]]:
        """One denoising step of every sample of the group; returns rows run and the members without memory."""
        self._groups.took_turn(group)
        batch = group.batch(self.model)
        inputs = batch.inputs(skipping)
        self._width.ran(inputs.rows.count, group.rows)
        prediction = call_unet(self.model, batch, inputs, self._limits, group.shape, unet=self._unet_for(group, batch))
        self._torn = True
        guided = guide(self._guidance, batch, inputs, prediction)
        self._previews.take(batch, guided)
        batch.advance(guided)
        for position, sample in enumerate(batch.members):
            sample.rows_run += sample.rows - (position in skipping)
            sample.call_rows += inputs.rows.count
        self._torn = False
        return inputs.rows.count, prediction.unfit

    def _unet_for(self, group: Group, batch: Batch) -> UNetCall | None:
        """The UNet in fixed numbers of rows, if there is one; not for ``exact`` images, which it changes by rounding,
        not for a float32 repetition, and not for a shape that would have to be compiled first."""
        exact = any(sample.request.quality == "exact" for sample in batch.members)
        other = self.config.unet_rows == "compiled" and group.shape != own_shape(self.model)
        return None if exact or other or batch.dtype != self.model.dtype else self._unet

    # Retire

    def _ease(self, slot: Slot, group: Group) -> list[Event]:
        """After a step without memory: the next one has nothing beside it, the one after that half of the samples;
        only an image that is alone and has nothing beside it fails."""
        release_cached()
        if self._torn:
            self._torn = False
            for sample in list(group.samples):
                self._start_over(sample, sample.shape)
        if slot.decodes:
            return []
        if len(group.samples) > 1:
            return list(self._admission.halve(group))
        return [self._fail(sample.job_id, _no_memory(sample)) for sample in list(group.samples)]

    def _retire_samples(self, slot: Slot, group: Group, ran: Ran) -> list[Event]:
        """Report progress, fail what had no memory, and hand what is denoised to the decode queue."""
        members = group.batch(self.model).members
        unfit = {members[position].job_id: members[position] for position in ran.unfit}
        if unfit and slot.decodes:  # it may fit with nothing beside it
            self._starved, unfit = True, {}
            for position in ran.unfit:
                self._start_over(members[position], members[position].shape)
        events: list[Event] = [*self._jobs.news(members)]
        if unfit or any(sample.done for sample in members):
            for sample in self._groups.remove(lambda sample: sample.done and sample.job_id not in unfit):
                events += self._denoised(sample)
        events += [self._fail(job_id, _no_memory(sample)) for job_id, sample in unfit.items()]
        return events

    def _denoised(self, sample: Sample) -> list[Event]:
        if bool(torch.isfinite(sample.latents).all()):
            sample.denoised_at = self._clock()
            self._decodes.push(sample)
            return []
        if sample.shape.dtype != torch.float32:
            self._start_over(sample, sample.shape.in_float32())
            return []
        error = NonFiniteImage("the denoised latents have values that are not finite, in single precision too")
        return [self._fail(sample.job_id, error.info)]

    def _start_over(self, sample: Sample, shape: Shape) -> None:
        """Denoise a sample once more from its own noise."""
        again = self._admission.start(sample.request, sample.index, sample.table, sample.conditioning, shape)
        self._groups.remove(lambda each: each is sample)
        again.encode_s, again.admitted_at = sample.encode_s, sample.admitted_at
        self._jobs.joined(again)

    def _retire_images(self) -> list[Event]:
        """Send what is decoded to the host, and report what has arrived there."""
        events: list[Event] = []
        for waiting in self._decodes.pop_done():
            try:
                self._leaving.start(waiting, waiting.image)
            except SynerDiffError as error:
                events.append(self._fail(waiting.sample.job_id, error.info))
        for arrived in self._leaving.pop(wait=not (self.active or len(self._decodes))):
            job_id = arrived.waiting.sample.job_id
            if job_id not in self._jobs:
                continue
            try:
                events.append(self._image_ready(arrived))
            except SynerDiffError as error:
                events.append(self._fail(job_id, error.info))
                continue
            if self._jobs.image_done(job_id):
                self.cancel(job_id)
        return events

    def _waits(self, events: Sequence[Event]) -> list[Event]:
        """The jobs of ``events`` that have images waiting for a place, and none that is being made."""
        jobs = dict.fromkeys(event.job_id for event in events if isinstance(event, SetAside | ImageReady))
        return [Waits(job_id) for job_id in jobs if self._admission.has_left(job_id) and not self._makes(job_id)]

    def _makes(self, job_id: str) -> bool:
        active = any(sample.job_id == job_id for sample in self._groups)
        return active or self._decodes.holds(job_id) or self._leaving.holds(job_id)

    def _image_ready(self, arrived: Arrived) -> ImageReady:
        waiting, rows = arrived.waiting, arrived.rows
        sample = waiting.sample
        if not arrived.finite:
            image = self._decodes.image_in_float32(waiting)
            rows = pixel_rows(image, as_float=self.config.float_images).cpu()
        timings = ImageTimings(
            encode=sample.encode_s,
            denoise=sample.denoised_at - sample.admitted_at,
            decode_wait=sample.decode_started_at - sample.denoised_at,
            decode=self._clock() - sample.decode_started_at,
        )
        chunks = 0 if waiting.decode is None else waiting.decode.chunks
        receipt = sample.receipt(chunks, self._plan.version)
        return ImageReady(sample.job_id, sample.index, sample.seed, rows.numpy(), timings, receipt)

    def _fail(self, job_id: str, error: ErrorInfo) -> JobFailed:
        self.cancel(job_id)
        return JobFailed(job_id, error)


def _no_memory(sample: Sample) -> ErrorInfo:
    size = f"{sample.request.width}x{sample.request.height}"
    return OutOfMemory(f"one {size} image does not fit in the memory of the device even alone").info
