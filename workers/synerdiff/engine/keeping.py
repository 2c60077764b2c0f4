"""When a job's latents are kept, and what that costs: every few steps, so that a crash loses little of it."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable, Iterable

from synerdiff.engine.config import EngineConfig
from synerdiff.engine.groups import Groups
from synerdiff.engine.jobs import JobProgress, Jobs
from synerdiff.engine.model import LoadedModel
from synerdiff.engine.snapshot import encode
from synerdiff.engine.types import Snapshot
from synerdiff.policy import keep_interval

WHOLE_COST = 5.0  # with the pipe, the worker and Redis: 2.4 to 5 times making it (benchmarks/keeping.py)
_COSTS = 9  # the median of so many counts, so that one slow moment does not keep later ones from being measured
_FORGET = 0.9
_FADES = 0.999  # a step: what became too dear to be taken is tried again some time


class Keeping:
    """Takes the latent checkpoints of an engine's jobs."""

    def __init__(
        self, model: LoadedModel, config: EngineConfig, jobs: Jobs, groups: Groups, clock: Callable[[], float]
    ) -> None:
        self._model = model
        self._config = config
        self._jobs = jobs
        self._groups = groups
        self._clock = clock
        self._costs = deque([0.0] * _COSTS, maxlen=_COSTS)  # nothing at first: what is not taken is not measured
        self._keep_s = 0.0
        self._step_s = 0.0

    def stepped(self, slot_s: float, groups: int) -> None:
        """Note how long a slot with a UNet call took; ``groups`` take turns."""
        self._keep_s *= _FADES
        step_s = slot_s * max(1, groups)
        self._step_s = _FORGET * self._step_s + (1 - _FORGET) * step_s if self._step_s else step_s

    def interval(self) -> int:
        """Steps between two checkpoints of a job now; 0: none are taken."""
        config = self._config
        if config.keep_steps or not config.keep_s or not self._step_s:
            return config.keep_steps
        return keep_interval(self._step_s, WHOLE_COST * self._keep_s, len(self._groups), config.keep_s)

    def due(self, job_ids: Iterable[str]) -> list[Snapshot]:
        """Checkpoints of those jobs that have that much to lose; for shorter jobs there are none."""
        every = self.interval()
        if not every:
            return []
        jobs = [job for job_id in dict.fromkeys(job_ids) if (job := self._jobs.get(job_id)) is not None]
        due = [job for job in jobs if every < job.request.steps and job.at_risk() >= every and not job.too_large]
        if not due:
            return []
        begun = self._clock()
        self._groups.settle()
        taken = [self._take(job) for job in due]
        self._costs.append((self._clock() - begun) / len(due))
        self._keep_s = statistics.median(self._costs)
        return [snapshot for snapshot in taken if snapshot is not None]

    def take(self, job_id: str) -> Snapshot | None:
        """A checkpoint of a job now; None if nothing of it is done, or it is too large."""
        job = self._jobs.get(job_id)
        if job is None or job.too_large or not job.steps_done:
            return None
        self._groups.settle()
        return self._take(job)

    def _take(self, job: JobProgress) -> Snapshot | None:
        data = encode(job.samples, self._model, self._clock())
        job.keep()
        job.too_large = len(data) > self._config.keep_bytes
        return None if job.too_large else Snapshot(job.request.job_id, job.steps_done, data)
