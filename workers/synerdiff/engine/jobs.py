"""The jobs inside the engine: which of their images are where, and how far the slowest one is."""

from __future__ import annotations

from dataclasses import dataclass, field

from synerdiff.engine.sample import Sample
from synerdiff.engine.types import Request, Stepped


@dataclass(slots=True, eq=False)
class JobProgress:
    """One job's images that have joined so far, and what was last reported."""

    request: Request
    samples: list[Sample] = field(default_factory=list)
    images_left: int = 0
    reported: int = 0
    kept: dict[int, int] = field(default_factory=dict)
    too_large: bool = False

    @property
    def steps_done(self) -> int:
        """Denoising steps of all its images."""
        return sum(sample.step for sample in self.samples)

    def at_risk(self) -> int:
        """The most steps of one image that no checkpoint has."""
        return max((sample.step - self.kept.get(sample.index, 0) for sample in self.samples), default=0)

    def keep(self) -> None:
        """Note that a checkpoint has everything up to here."""
        self.kept = {sample.index: sample.step for sample in self.samples}

    def news(self) -> Stepped:
        """How far the slowest image is; an image that has not joined or starts over takes nothing back."""
        if len(self.samples) == self.request.n:
            self.reported = max(self.reported, min(sample.step for sample in self.samples))
        return Stepped(self.request.job_id, self.reported, self.samples[0].table.steps)


class Jobs:
    """Every job that the engine holds in any phase."""

    def __init__(self) -> None:
        self._jobs: dict[str, JobProgress] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._jobs

    def add(self, request: Request) -> None:
        """Begin to follow a job."""
        self._jobs[request.job_id] = JobProgress(request, images_left=request.n)

    def joined(self, sample: Sample) -> None:
        """Note that an image is in the batch (again, where it starts over)."""
        job = self._jobs[sample.job_id]
        job.samples = [known for known in job.samples if known.index != sample.index] + [sample]
        job.kept[sample.index] = sample.step

    def get(self, job_id: str) -> JobProgress | None:
        """A job's progress, None if it is not here."""
        return self._jobs.get(job_id)

    def image_done(self, job_id: str) -> bool:
        """Note that an image is decoded; whether it was the job's last one."""
        job = self._jobs[job_id]
        job.images_left -= 1
        return job.images_left == 0

    def forget(self, job_id: str) -> None:
        """Stop following a job."""
        self._jobs.pop(job_id, None)

    def news(self, samples: list[Sample]) -> list[Stepped]:
        """Progress of the jobs whose samples have just stepped."""
        jobs = dict.fromkeys(sample.job_id for sample in samples)
        return [self._jobs[job_id].news() for job_id in jobs if job_id in self._jobs]
