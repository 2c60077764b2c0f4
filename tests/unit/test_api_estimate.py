"""Estimated times against the policy's simulator, in virtual time: how far they are off in steady state."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence

import pytest

from synerdiff.api.estimate import Pace
from synerdiff.api.prospect import Prospect
from synerdiff.ledger import HeldJob, PoolLoad, WorkerReport
from synerdiff.policy.cost import CostModel
from synerdiff.policy.planner import Planner
from synerdiff.policy.shipped import shipped_profile
from synerdiff.policy.simulator import SimJob
from synerdiff.policy.simulator.continuous import ContinuousRun, Device
from synerdiff.policy.simulator.run import Scenario, planned
from synerdiff.protocol import Job

WARM = 60  # jobs


class Watched(ContinuousRun):
    """The simulator's own run, which is asked at each submit, and when half of a job's steps are done."""

    def watch(self, pace: Pace, rate: float) -> dict[str, list[float]]:
        """Run all; each estimate over what came, by the moment it was asked for."""
        self._pace, self._rate = pace, rate
        self._said: list[tuple[str, int, float, float]] = []
        self.run()
        ratios: dict[str, list[float]] = {"submit": [], "half": []}
        for moment, index, at, eta_s in self._said:
            if index >= WARM:
                ratios[moment].append(eta_s / (self.outcome.finished_at[index] - at))
        return ratios

    def _take_arrivals(self, now: float) -> None:
        before = self._arrived
        super()._take_arrivals(now)
        for index in range(before, self._arrived):
            self._ask("submit", index, now, position=index - before + len(self._waiting) - (self._arrived - before))

    def _slot(self, device: Device, now: float) -> float:
        halves = {sample.job for sample in device.samples if sample.step * 2 < sample.steps}
        end = super()._slot(device, now)
        for index in {sample.job for sample in device.samples if sample.step * 2 >= sample.steps} & halves:
            self._ask("half", index, end, position=None)
        return end

    def _ask(self, moment: str, index: int, now: float, position: int | None) -> None:
        job = self._job(index)
        step = 0 if position is not None else job.steps // 2
        eta_s = self._prospect().seconds(job, position, step)
        assert eta_s is not None
        self._said.append((moment, index, now, eta_s))

    def _job(self, index: int) -> Job:
        job, side = self.jobs[index], 128
        return Job(id=str(index), model="m", prompt="p", steps=job.steps, n=job.n, width=side, height=side, seed=1)

    def _prospect(self) -> Prospect:
        reports = [
            WorkerReport(name=str(number), pool="m", capacity=64, running=device.jobs, held=self._held(device))
            for number, device in enumerate(self._devices)
        ]
        load = PoolLoad(
            "m",
            queued=len(self._waiting),
            running=self._running,
            outstanding_cost=float(self._open_steps * self._pace.pixels),
        )
        return Prospect(load, reports, self._pace, rate=self._rate)

    def _held(self, device: Device) -> list[HeldJob]:
        pixels = self._pace.pixels
        return [
            HeldJob(id=str(sample.job), images=1, steps=sample.steps, left=sample.steps - sample.step, pixels=pixels)
            for sample in device.samples
        ]


def poisson(rate: float, count: int, seed: int) -> list[SimJob]:
    draw = random.Random(seed)
    at, jobs = 0.0, []
    for _ in range(count):
        at += draw.expovariate(rate)
        jobs.append(SimJob(at, steps=draw.choice((10, 20, 30)), n=draw.choice((1, 1, 2)), quality="exact"))
    return jobs


def errors(ratios: Sequence[float]) -> float:
    return statistics.median(abs(ratio - 1) for ratio in ratios)


@pytest.mark.parametrize("share", [0.4, 0.7, 0.9])
@pytest.mark.parametrize("gpus", [1, 2])
def test_the_error_in_steady_state(share: float, gpus: int) -> None:
    profile = shipped_profile("cpu-tiny-emoji-128")
    scenario = Scenario(profile, gpus=gpus)
    planner = Planner()
    cost, ratings = CostModel(profile), planner.ratings(profile)
    cap = ratings.batch_cap
    steps_s = tuple(float(cost.unet_of(images)) for images in range(1, cap + 1))
    pace = Pace(steps_s, cost.decode_s, 128 * 128, hold_s=cost.decode_s)
    job_s = 4 / 3 * (20 * steps_s[-1] / cap + cost.decode_s)
    rate = share * gpus / job_s
    jobs = poisson(rate, 400, seed=7)
    run = Watched(cost, jobs, planned(scenario, planner), gpus=gpus, policy="synerdiff-exact", quality="exact")
    ratios = run.watch(pace, rate)
    assert len(ratios["submit"]) == len(jobs) - WARM
    assert errors(ratios["submit"]) < 0.25
    assert errors(ratios["half"]) < 0.1
