"""The baselines that call the plain pipeline: one job after another, and in batches of jobs that agree."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from synerdiff.policy.admission import admission_key
from synerdiff.policy.cost import CostModel
from synerdiff.policy.simulator.figures import Outcome
from synerdiff.policy.simulator.jobs import SimJob


@dataclass(frozen=True, slots=True)
class Batching:
    """How the pipeline batches: at most ``cap`` images, waiting at most ``window_s`` for a batch to fill."""

    cap: int = 1
    window_s: float = 0.0


def agreement(job: SimJob) -> Hashable:
    """What jobs must share to go through the plain pipeline together."""
    return job.steps, job.sampler, job.guidance_scale, job.width, job.height


class PipelineRun:
    """Devices that each run whole batches through the pipeline, one batch after another."""

    def __init__(
        self,
        cost: CostModel,
        jobs: Sequence[SimJob],
        batching: Batching,
        *,
        gpus: int,
        policy: str,
        fixed_s: Callable[[int], float] | None = None,
    ) -> None:
        """``fixed_s`` says what a batch of so many images takes beside its steps, where that is known as a whole; else
        text encoding, admission and one decode after another."""
        self.cost = cost
        self._fixed_s = fixed_s
        self.jobs = jobs
        self.batching = batching
        self.policy = policy
        self.outcome = Outcome(policy, [0.0] * len(jobs), [0.0] * len(jobs))
        self._free = [(0.0, gpu) for gpu in range(gpus)]
        self._arrived = 0
        self._waiting: list[int] = []

    def run(self) -> Outcome:
        """Serve every job and return the figures."""
        while self._arrived < len(self.jobs) or self._waiting:
            now, gpu = heapq.heappop(self._free)
            self._take_arrivals(now)
            heapq.heappush(self._free, (self._serve(now), gpu))
        self.outcome.span_s = max(self.outcome.finished_at) - self.jobs[0].at
        return self.outcome

    def _take_arrivals(self, now: float) -> None:
        while self._arrived < len(self.jobs) and self.jobs[self._arrived].at <= now:
            self._waiting.append(self._arrived)
            self._arrived += 1
        self._waiting.sort(key=lambda i: admission_key(self.jobs[i].priority, None, self.jobs[i].at))

    def _serve(self, now: float) -> float:
        """Start a batch, or wait for one; returns when the device is free again (always later than ``now``)."""
        coming = self.jobs[self._arrived].at if self._arrived < len(self.jobs) else None
        if not self._waiting:
            return coming if coming is not None else float("inf")
        first = self.jobs[self._waiting[0]]
        batch = self._fitting(first)
        images = sum(self.jobs[i].n for i in batch)
        due = first.at + self.batching.window_s
        if images < self.batching.cap and now < due and coming is not None:
            return min(due, coming)
        self._waiting = [i for i in self._waiting if i not in set(batch)]
        return self._finish(batch, images, now)

    def _fitting(self, first: SimJob) -> list[int]:
        """The waiting jobs that agree with the first, as many as the cap admits (the first always)."""
        batch: list[int] = []
        images = 0
        for index in self._waiting:
            job = self.jobs[index]
            if agreement(job) == agreement(first) and (not batch or images + job.n <= self.batching.cap):
                batch.append(index)
                images += job.n
        return batch

    def _finish(self, batch: list[int], images: int, now: float) -> float:
        first, profile = self.jobs[batch[0]], self.cost.profile
        rows = images * first.rows
        denoise = first.steps * float(self.cost.unet(rows))
        decode = images * self.cost.profile.granularities[0].decode_s
        start = (profile.encode_s + profile.admit_s) * len(batch)
        if self._fixed_s is not None:
            start, decode = 0.0, self._fixed_s(images)
        end = now + start + denoise + decode
        outcome = self.outcome
        for index in batch:
            outcome.finished_at[index] = end
            outcome.e2e_s[index] = end - self.jobs[index].at
        outcome.vae_s += [decode] * images
        outcome.images += images
        outcome.busy_s += end - now
        outcome.back_to_back_s += denoise + decode
        outcome.rows_run += rows * first.steps
        outcome.unet_calls += first.steps
        return end
