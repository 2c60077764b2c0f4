"""What the ledger promises about each job, as plain Python: the model that the scripts are checked against."""

from __future__ import annotations

from dataclasses import dataclass, field

FINAL = ("succeeded", "failed", "cancelled", "expired", "dead")


@dataclass
class ModelJob:
    """One job. ``lease_until`` and ``worker`` mean something while it runs, ``kept`` (steps and token of the latent
    checkpoint) while it is open. A ``suspect`` runs alone, to its end unless it has a ``trial``: it gets one, once.
    ``told`` and ``stride`` are the step of the claim's last report, and the most steps between two."""

    fields: tuple[object, ...]
    deadline_s: float | None
    created_at: float
    state: str = "queued"
    token: int = 0
    nonce: str = ""
    worker: str = ""
    alone: bool = False
    lease_until: float = 0.0
    handed: int = 0
    attempts: int = 0
    lapses: int = 0
    asides: int = 0
    kept: tuple[int, int] = (0, 0)
    suspect: bool = False
    step: int = 0
    told: int = 0
    stride: int = 0
    trial: int | None = None
    clear: int | None = None
    tried: bool = False

    def late(self, now: float) -> bool:
        """Whether the deadline has passed."""
        return self.deadline_s is not None and now >= self.created_at + self.deadline_s

    @property
    def open(self) -> bool:
        """Whether the job has not ended."""
        return self.state not in FINAL


@dataclass
class ModelWorker:
    """One worker incarnation as the ledger sees it."""

    alive_until: float
    seen_at: float


@dataclass
class Model:
    """All jobs and workers, and the rules that end, give back and reap jobs."""

    max_attempts: int
    reap_gap_s: float
    grace_s: float
    jobs: dict[str, ModelJob] = field(default_factory=dict)
    workers: dict[str, ModelWorker] = field(default_factory=dict)
    reaped_at: float = 0.0
    graces: int = 0

    def end(self, job_id: str, token: int, state: str, now: float) -> tuple[bool, str | None]:
        """finish and fail: whether accepted, and the state after."""
        job = self.jobs.get(job_id)
        if job is None:
            return False, None
        if job.token != token or job.state != "running":
            return job.token == token and job.state == state, job.state
        job.state = "expired" if job.late(now) else state
        return job.state == state, job.state

    def keep(self, job_id: str, token: int, steps: int) -> bool:
        """Whether a latent checkpoint is accepted; one that came late changes nothing."""
        job = self.jobs.get(job_id)
        if job is None or (job.state, job.token) != ("running", token):
            return False
        if job.kept[1] != token or steps > job.kept[0]:
            job.kept = (steps, token)
        return True

    def progress(self, job_id: str, token: int, kind: str, step: int) -> bool:
        """Whether a report is accepted."""
        job = self.jobs.get(job_id)
        if job is None or (job.state, job.token) != ("running", token):
            return False
        job.step = step if kind == "step" else max(step, job.told)
        if kind == "step":
            job.stride = max(job.stride, step - job.told) if job.told else job.stride
            job.told = step
        return True

    def hand_back(self, job_id: str, token: int, how: str, now: float, step: int | None) -> tuple[bool, str | None]:
        """Whether accepted, and the state after."""
        job = self.jobs.get(job_id)
        if job is None:
            return False, None
        if job.handed == token:
            return True, job.state
        if job.token != token or job.state != "running":
            return False, job.state
        job.handed = token
        if job.late(now):
            job.state = "expired"
        elif how == "crash":
            self.crash(job, step)
        else:
            job.state = "queued"
            job.asides += how == "aside"
            job.suspect = job.suspect and how != "proven"
        return True, job.state

    def crash(self, job: ModelJob, step: int | None = None) -> None:
        """The engine died under the job, or its worker, which then cannot say the step."""
        job.attempts += job.alone
        job.trial = job.clear = None
        if not (job.alone or job.tried):
            job.trial = max(job.step if step is None else step, job.kept[0])
            known = step is not None or not job.told or job.stride
            job.clear = job.trial + 2 + (job.stride if step is None else 0) if known else None
        job.suspect = job.tried = True
        job.state = "dead" if job.alone and job.attempts >= self.max_attempts else "queued"

    def renew(self, job_id: str, token: int, worker: str, now: float, lease_s: float) -> str:
        """The answer for one lease."""
        job = self.jobs.get(job_id)
        if job is None:
            return "lost"
        if job.state in ("cancelled", "expired"):
            return job.state
        if (job.state, job.token, job.worker) != ("running", token, worker):
            return "lost"
        if job.late(now):
            job.state = "expired"
            return "expired"
        job.lease_until = now + lease_s
        return "held"

    def reap(self, now: float) -> None:
        """Everything that time has run out for."""
        since = now - self.reaped_at
        late = not 0 <= since <= self.reap_gap_s
        grace = since < 0 or (late and self.graces < 3)
        self.graces = self.graces + 1 if late else 0
        if grace:
            for job in self.jobs.values():
                job.lease_until = now + self.grace_s
            for worker in self.workers.values():
                worker.alive_until = now + self.grace_s
        self.reaped_at = now
        self.workers = {name: worker for name, worker in self.workers.items() if worker.alive_until > now}
        for job in self.jobs.values():
            if job.open and job.late(now):
                job.state = "expired"
            elif job.state == "running" and job.lease_until <= now:
                self._lapse(job)

    def _lapse(self, job: ModelJob) -> None:
        worker = self.workers.get(job.worker)
        if worker is None:
            self.crash(job)
        elif worker.seen_at > job.lease_until:
            job.lapses += 1
            if job.lapses > 1 or job.alone:
                self.crash(job)
            else:
                job.state = "queued"
