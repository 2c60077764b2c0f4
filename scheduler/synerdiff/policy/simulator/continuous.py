"""The slot loop in virtual time: admit, plan the slot, step, retire; what the engine does, without the tensors."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from synerdiff.policy.admission import admission_key
from synerdiff.policy.cost import CostModel
from synerdiff.policy.plan import PlanView
from synerdiff.policy.profile import SkipShare
from synerdiff.policy.simulator.figures import Outcome
from synerdiff.policy.simulator.jobs import SimJob
from synerdiff.policy.simulator.timing import SlotTimes
from synerdiff.policy.steering import Load
from synerdiff.policy.width import Width

TICK_S = 1.0


@dataclass(slots=True)
class Sample:
    """One image on its way through the UNet; ``full_at`` is its last step with both passes."""

    job: int
    steps: int
    rows: int
    quality: str
    step: int = 0
    full_at: int = -1


@dataclass(slots=True)
class Device:
    """One device: its samples, the images that wait for decoding as (job, end of last step), and how many chunks
    of the first are done."""

    samples: list[Sample] = field(default_factory=list)
    decoding: deque[tuple[int, float]] = field(default_factory=deque)
    head_done: int = 0
    jobs: int = 0
    starting_s: float = 0.0
    width: Width = field(default_factory=Width)


@dataclass(frozen=True, slots=True)
class Steered:
    """Plans as time goes by: ``view`` to start with, and ``tick`` to call each second with the load."""

    view: PlanView
    tick: Callable[[Load, float], tuple[PlanView, float, float | None]] | None = None


class ContinuousRun:
    """Devices that batch step by step and follow a plan; ``quality`` overrides the jobs' own class."""

    def __init__(
        self,
        cost: CostModel,
        jobs: Sequence[SimJob],
        steered: Steered,
        *,
        gpus: int,
        policy: str,
        quality: str | None = None,
    ) -> None:
        self.times = SlotTimes(cost)
        self.jobs = jobs
        self.view = steered.view
        self.outcome = Outcome(policy, [0.0] * len(jobs), [0.0] * len(jobs))
        self._tick = steered.tick
        self._next_tick = jobs[0].at + TICK_S  # a trace may begin at any time: nothing is to be done before it
        self._quality = quality
        self._skips = cost.profile.skips
        self._usual_steps = cost.profile.steps
        self._start_s = cost.profile.encode_s + cost.profile.admit_s
        self._devices = [Device() for _ in range(gpus)]
        self._left = [job.n for job in jobs]
        self._waiting: list[tuple[tuple[int, float, float], int]] = []
        self._arrived = 0
        self._running = 0
        self._open_steps = 0
        self._open_images = 0

    def run(self) -> Outcome:
        """Serve every job and return the figures."""
        ready = [(0.0, index) for index in range(len(self._devices))]
        while self._arrived < len(self.jobs) or self._waiting or self._running:
            now, index = heapq.heappop(ready)
            self._take_arrivals(now)
            self._tick_until(now)
            heapq.heappush(ready, (self._slot(self._devices[index], now), index))
        self.outcome.span_s = max(self.outcome.finished_at) - self.jobs[0].at
        return self.outcome

    def _take_arrivals(self, now: float) -> None:
        while self._arrived < len(self.jobs) and self.jobs[self._arrived].at <= now:
            job = self.jobs[self._arrived]
            heapq.heappush(self._waiting, (admission_key(job.priority, None, job.at), self._arrived))
            self._arrived += 1
            self._open_steps += job.n * job.steps
            self._open_images += job.n

    def _tick_until(self, now: float) -> None:
        if self._tick is None:
            return
        while self._next_tick <= now:
            load = Load(len(self._waiting), self._running, self._open_steps, self._open_images, len(self._devices))
            self.view, y, theta = self._tick(load, TICK_S)
            self.outcome.control.append((self._next_tick, y, theta))
            self._next_tick += TICK_S

    def _slot(self, device: Device, now: float) -> float:
        """Plan, step and retire one slot; returns when it ends (or when the next job arrives, if there is none)."""
        self._admit(device)
        if not device.samples and not device.decoding:
            return self.jobs[self._arrived].at if self._arrived < len(self.jobs) else float("inf")
        batch = device.samples[: device.width.samples(self.view.batch_cap)]
        scale = self.times.per_decode // self.view.table.chunks_per_decode
        waiting = len(device.decoding) * self.times.per_decode - device.head_done
        rows = self._rows(batch, device)
        action = self.view.table.action_for_rows(rows, -(-waiting // scale))
        rows = rows if action.run_unet else 0
        chunks = min(action.chunks * scale, waiting)
        length = self.times.slot(rows, action.granularity, device.head_done, chunks) + device.starting_s
        if any(sample.quality == "exact" for sample in batch):
            length += self.times.exact_extra(rows)
        self._account(device, length, rows, action.granularity, chunks)
        end = now + length
        if rows:
            device.width.ran(rows, sum(sample.rows for sample in batch))
            self._step(device, batch, end)
        self._decode(device, chunks, end)
        return end

    def _admit(self, device: Device) -> None:
        cap = device.width.samples(self.view.batch_cap)
        while self._waiting:
            job = self.jobs[self._waiting[0][1]]
            if device.samples and len(device.samples) + job.n > cap:
                return
            index = heapq.heappop(self._waiting)[1]
            quality = self._quality or job.quality
            device.samples += [Sample(index, job.steps, job.rows, quality) for _ in range(job.n)]
            device.jobs += 1
            device.starting_s += self._start_s
            self._running += 1

    def _rows(self, batch: list[Sample], device: Device) -> int:
        """Rows of the next UNet call, given who skips. Only read, so that a slot without the UNet changes nothing."""
        in_system = device.jobs + -(-len(self._waiting) // len(self._devices))
        return sum(1 if self._does_skip(sample, in_system) else sample.rows for sample in batch)

    def _does_skip(self, sample: Sample, in_system: int) -> bool:
        if sample.rows == 1 or not self.view.allows_skip(sample.quality, in_system):
            return False
        share = self._skips.get(sample.quality)
        return share is not None and may_skip(sample, share, self._usual_steps)

    def _step(self, device: Device, batch: list[Sample], end: float) -> None:
        in_system = device.jobs + -(-len(self._waiting) // len(self._devices))
        finished = False
        for sample in batch:
            if self._does_skip(sample, in_system):
                self.outcome.rows_skipped += 1
            else:
                sample.full_at = sample.step
            sample.step += 1
            if sample.step == sample.steps:
                device.decoding.append((sample.job, end))
                finished = True
        if finished:
            device.samples = [sample for sample in device.samples if sample.step < sample.steps]

    def _decode(self, device: Device, chunks: int, end: float) -> None:
        device.head_done += chunks
        while device.head_done >= self.times.per_decode and device.decoding:
            device.head_done -= self.times.per_decode
            job, denoised = device.decoding.popleft()
            self.outcome.vae_s.append(end - denoised)
            self.outcome.images += 1
            self._left[job] -= 1
            if not self._left[job]:
                self._finish(device, job, end)

    def _finish(self, device: Device, index: int, end: float) -> None:
        job = self.jobs[index]
        self.outcome.finished_at[index] = end
        self.outcome.e2e_s[index] = end - job.at
        device.jobs -= 1
        self._running -= 1
        self._open_steps -= job.n * job.steps
        self._open_images -= job.n

    def _account(self, device: Device, length: float, rows: int, granularity: str, chunks: int) -> None:
        outcome = self.outcome
        outcome.busy_s += length
        device.starting_s = 0.0
        if rows:
            outcome.rows_run += rows
            outcome.unet_calls += 1
            outcome.back_to_back_s += self.times.unet(rows)
        if chunks:
            outcome.back_to_back_s += self.times.chunk_s(granularity, device.head_done, chunks)


def may_skip(sample: Sample, share: SkipShare, usual_steps: int) -> bool:
    """Whether the calibrated share lets this step reuse the guidance difference of an earlier one."""
    late = sample.step >= share.first * sample.steps and sample.full_at >= 0
    return late and sample.step - sample.full_at < share.refresh * sample.steps / usual_steps
