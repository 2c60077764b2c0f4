"""Workers as real processes on a real Redis and S3, and what tests do to them."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from synerdiff.cli.embedded import S3Access
from synerdiff.dispatch import Hints, celery_app, queue_name
from synerdiff.ledger import Ledger, LedgerConfig
from synerdiff.protocol import Job, JobState, JobView, pool_of
from synerdiff.protocol.errors import LedgerUnavailable
from synerdiff.settings import load
from synerdiff.storage import Store, StoreConfig
from synerdiff.workers.main import run_worker
from synerdiff.workers.worker import engine_spec
from tests.support import wait_until
from tests.worker_fakes import FACTORY

ROOT = Path(__file__).parents[1]
START_S = 90.0
QUICK = {
    "LEASE_S": "2",
    "WORKER_TTL_S": "2",
    "GRACE_S": "20",
    "MAX_ATTEMPTS": "2",
    "LOG_FORMAT": "json",
    "LIMITS__MAX_STEPS": "2000000",  # the fake engine makes hundreds of steps a second
    "LIMITS__MAX_COST": str(10**15),
}


class WorkerProcess:
    """One worker: its process, and its log."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self.log_path = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)

    @property
    def log(self) -> str:
        """Everything it has logged."""
        return self.log_path.read_text()

    def children(self) -> list[psutil.Process]:
        """Its engine process."""
        found: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        return found

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self, timeout_s: float = 60.0) -> int:
        """Wait for its end; the exit code."""
        return self.process.wait(timeout_s)


class WorkerStack:
    """Workers for one model, the ledger they share, and a thread that reaps and re-sends as the scheduler does."""

    def __init__(self, redis_url: str, s3: S3Access, directory: Path, *, model: str, fake: bool = True) -> None:
        self.model, self.pool = model, pool_of(model)
        self.ledger = Ledger.connect(redis_url, LedgerConfig(max_attempts=2, hint_backoff_s=0.5))
        self.store = Store(StoreConfig(s3.endpoint, s3.bucket, s3.access_key, s3.secret_key))
        self.app = celery_app(redis_url)
        self.workers: list[WorkerProcess] = []
        self._hints = Hints(self.app)
        self._directory, self._fake = directory, fake
        self._environment = {
            **os.environ,
            **{f"SYNERDIFF_{name}": value for name, value in QUICK.items()},
            "SYNERDIFF_REDIS_URL": redis_url,
            "SYNERDIFF_S3_ENDPOINT": s3.endpoint,
            "SYNERDIFF_S3_BUCKET": s3.bucket,
            "SYNERDIFF_S3_ACCESS_KEY": s3.access_key,
            "SYNERDIFF_S3_SECRET_KEY": s3.secret_key,
            "SYNERDIFF_MODEL": model,
            "SYNERDIFF_DEVICE": "cpu",
        }
        self._stopping = threading.Event()
        self._reconciler = threading.Thread(target=self._reconcile, daemon=True)

    def __enter__(self) -> Self:
        self._reconciler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._reconciler.join(10)
        for worker in self.workers:
            worker.process.kill()
            worker.process.wait(10)
            if kind is not None:
                sys.stderr.write(worker.log[-8000:])
        self._hints.close()
        self.ledger.close()
        self.app.close()

    def launch(self, **settings: object) -> WorkerProcess:
        """Start a worker process without waiting for it."""
        given = {f"SYNERDIFF_{name.upper()}": str(value) for name, value in settings.items()}
        log = self._directory / f"worker-{len(self.workers)}.log"
        command = [sys.executable, "-m", "tests.worker_stack", "fake" if self._fake else "real"]
        self.workers.append(WorkerProcess(command, {**self._environment, **given}, log))
        return self.workers[-1]

    def launch_with_celery(self) -> WorkerProcess:
        """Start a worker with Celery's own command, without waiting for it."""
        log = self._directory / f"worker-{len(self.workers)}.log"
        command = [sys.executable, "-m", "celery", "-A", "synerdiff.workers.app", "worker", "-c", "4"]
        self.workers.append(WorkerProcess(command, self._environment, log))
        return self.workers[-1]

    def start(self, **settings: object) -> WorkerProcess:
        """Start a worker and wait until it takes jobs."""
        worker = self.launch(**settings)
        pid = worker.process.pid
        wait_until(
            lambda: any(report.pid == pid for report in self.ledger.workers(self.pool)), START_S, what="a worker"
        )
        return worker

    def submit(self, *prompts: str, **fields: Any) -> list[str]:
        """Submit a job for each prompt; their ids."""
        values = {"width": 64, "height": 64, "steps": 4, "sampler": "ddim", "seed": 7, **fields}
        jobs = [Job(model=self.model, prompt=prompt, **values) for prompt in prompts]
        for job in jobs:
            self.send(self.ledger.submit(job, self.pool).released)
        return [job.id for job in jobs]

    def send(self, job_ids: Sequence[str]) -> None:
        """Send hints."""
        if job_ids:
            self._hints.send(self.pool, job_ids)

    def push(self, item: bytes) -> None:
        """Put raw bytes on the workers' queue."""
        self.ledger.client.lpush(queue_name(self.pool), item)

    def view(self, job_id: str) -> JobView:
        """A job's record."""
        view = self.ledger.get(job_id)
        assert view is not None
        return view

    def ended(self, job_ids: Sequence[str], timeout_s: float = 60.0) -> list[JobView]:
        """Wait for jobs to end; their records."""
        wait_until(lambda: all(self.view(job_id).state.final for job_id in job_ids), timeout_s, what="the jobs' end")
        return [self.view(job_id) for job_id in job_ids]

    def running(self, job_id: str, step: int = 1) -> None:
        """Wait until a job has made a step."""
        wait_until(
            lambda: self.view(job_id).state is JobState.RUNNING and self.view(job_id).step >= step,
            what=f"step {step} of {job_id}",
        )

    def _reconcile(self) -> None:
        while not self._stopping.wait(0.25):
            try:
                self.send(self.ledger.reap(self.pool).released)
                self.send(self.ledger.due_hints(self.pool, 100))
            except LedgerUnavailable:
                continue


def main(kind: str) -> int:
    """Run a worker as its command does, with the fake engine if asked."""
    settings = load()
    spec = engine_spec(settings)
    return run_worker(settings, dataclasses.replace(spec, factory=FACTORY) if kind == "fake" else spec)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
