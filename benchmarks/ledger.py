"""What the ledger and the hints cost: operations a second, CPU per operation, memory per open job.

Run ``python -m benchmarks.ledger [--jobs 5000] [--json]``. CPU is the client process's and, in its own column, the
Redis server's, so the figures hold on a busy machine too; operations a second are wall time, one caller.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from synerdiff.cli.embedded import EmbeddedRedis
from synerdiff.dispatch import GENERATE, Hints, celery_app, queue, queue_name
from synerdiff.ledger import Claim, Ledger, WorkerReport
from synerdiff.protocol import Job, JobEvent, JobResult, Receipt, Timings

POOL = "bench"
PROMPT = "a watercolour of a lighthouse at dusk, soft light, detailed, on textured paper"
RESULT = JobResult(images=[], timings=Timings(), receipt=Receipt())


@dataclass
class Row:
    """One operation's cost; times in seconds per job."""

    operation: str
    per_s: float
    client_cpu_s: float
    server_cpu_s: float


class Bench:
    """Takes the same jobs through every operation, and measures each."""

    def __init__(self, url: str, jobs: int) -> None:
        self.ledger = Ledger.connect(url)
        self.app = celery_app(url)
        self.count = jobs
        self.rows: list[Row] = []

    def _server_cpu(self) -> float:
        info = self.ledger.client.info("cpu")
        return float(info["used_cpu_sys"]) + float(info["used_cpu_user"])

    @contextmanager
    def measure(self, operation: str, count: int) -> Iterator[None]:
        """Add a row for ``count`` operations done inside."""
        server, client, wall = self._server_cpu(), time.process_time(), time.perf_counter()
        yield
        elapsed, cpu = time.perf_counter() - wall, time.process_time() - client
        self.rows.append(Row(operation, count / elapsed, cpu / count, (self._server_cpu() - server) / count))

    def jobs(self, name: str, count: int) -> list[Job]:
        return [
            Job(id=f"{name}{n}", model="m", prompt=PROMPT, width=128, height=128, tenant=f"t{n % 4}")
            for n in range(count)
        ]

    def each(self, operation: str, ids: list[str], call: Callable[[str], object]) -> None:
        call(ids[0])
        with self.measure(operation, len(ids) - 1):
            for job_id in ids[1:]:
                call(job_id)

    def memory_per_job(self) -> float:
        before = self.ledger.client.info("memory")["used_memory"]
        for start in range(0, self.count, 1000):
            self.ledger.submit_many(self.jobs(f"m{start}-", 1000), "memory")
        jobs = -(-self.count // 1000) * 1000
        return float(self.ledger.client.info("memory")["used_memory"] - before) / jobs

    def run(self) -> None:
        """All operations of a job's life, and the hints."""
        ledger = self.ledger
        jobs = {job.id: job for job in self.jobs("j", self.count)}
        ids = list(jobs)
        self.each("submit", ids, lambda job_id: ledger.submit(jobs[job_id], POOL))
        many = self.jobs("b", self.count)
        with self.measure("submit, 200 a call", len(many)):
            ledger.submit_many(many, "batch")
        ledger.heartbeat(WorkerReport(name="w", pool=POOL, capacity=self.count), 3600)
        tokens: dict[str, int] = {}

        def claim(job_id: str) -> None:
            answer = ledger.claim(job_id, worker="w", nonce="n", lease_s=600)
            assert isinstance(answer, Claim)
            tokens[job_id] = answer.token

        self.each("claim", ids, claim)
        held = dict(list(tokens.items())[:16])
        with self.measure("renew, 16 leases a call, each", 200 * 16):
            for _ in range(200):
                ledger.renew("w", held, 600)
        event = JobEvent(kind="step", step=3, steps=25)
        with self.measure("progress, 16 events a call, each", 200 * 16):
            for _ in range(200):
                ledger.progress_many([(job_id, token, event) for job_id, token in held.items()])
        self.each("finish", ids, lambda job_id: ledger.finish(job_id, tokens[job_id], RESULT))
        self._hints(ids)

    def _hints(self, ids: list[str]) -> None:
        hints = Hints(self.app)
        target = queue(queue_name(POOL))
        self.each("hint", ids, lambda job_id: hints.send(POOL, [job_id]))
        hints.send(POOL, ids)
        with self.measure("hint, all in one call", len(ids)):
            hints.send(POOL, ids)
        some = ids[:500]
        self.each(
            "Celery send_task, for comparison",
            some,
            lambda job_id: self.app.send_task(GENERATE, [job_id], task_id=job_id, queue=target, ignore_result=True),
        )


def main() -> None:
    """Print the table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        server = EmbeddedRedis(Path(directory))
        server.start()
        try:
            bench = Bench(server.url, options.jobs)
            memory = bench.memory_per_job()
            bench.run()
        finally:
            server.stop()
    if options.json:
        print(json.dumps({"memory_bytes_per_open_job": memory, "operations": [asdict(row) for row in bench.rows]}))
        return
    print(f"{'operation':36} {'per s':>9} {'client CPU us':>14} {'server CPU us':>14}")
    for row in bench.rows:
        print(f"{row.operation:36} {row.per_s:9.0f} {row.client_cpu_s * 1e6:14.1f} {row.server_cpu_s * 1e6:14.1f}")
    print(f"memory per open job: {memory:.0f} bytes")


if __name__ == "__main__":
    main()
