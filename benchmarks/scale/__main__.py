"""How the fleet grows: the real ledger, scheduler and Celery with simulated engines.

Run ``python -m benchmarks.scale [--workers 200] [--jobs 100000] [--finish 1000] [--json OUT] [--plot OUT.png]``. Costs
are CPU seconds, commands and bytes, which hold on a busy machine; wall times are said to be such. Workers are entries
in the ledger that four real Celery processes serve for; time between the growth measurements is moved by hand.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.scale.fits import fits
from benchmarks.scale.measure import Growth, Life
from synerdiff.cli.embedded import EmbeddedRedis
from synerdiff.telemetry import configure_logging

WORKER_SHARES = (0.125, 0.25, 0.5, 1.0)
JOB_SHARES = (0.2, 0.5, 1.0)
FEW_JOBS = 0.1
FINISHED = 200


def say(text: str) -> None:
    """Tell what is measured now."""
    print(text, file=sys.stderr, flush=True)


def measure(workers: int, jobs: int, finish: int) -> dict[str, Any]:
    """All figures as one document."""
    configure_logging("ERROR", "console")
    document: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedRedis(Path(folder)).start()
        try:
            growth = Growth(server.url, say)
            submits = [{"open_jobs": int(jobs * FEW_JOBS), **growth.submit_up_to(int(jobs * FEW_JOBS))}]
            sizes = []
            for share in WORKER_SHARES:
                growth.register_up_to(max(1, int(workers * share)))
                sizes.append(growth.at_this_size())
            for share in JOB_SHARES:
                submits.append({"open_jobs": int(jobs * share), **growth.submit_up_to(int(jobs * share))})
                sizes.append(growth.at_this_size())
            released = growth.released()
            growth.close()
            life = Life(server.url, say)
            document |= {"submits": submits, "sizes": sizes, "worker_second": life.rest(workers)}
            document["life"] = life.run(finish, workers, released)
            document["finished_job_memory_bytes"] = life.finished_memory(FINISHED)
        finally:
            server.stop()
    return document | {"fits": fits(document)}


def report(document: dict[str, Any]) -> None:
    """Print the figures."""
    heads = ("workers", "open jobs", "tick CPU ms", "Redis ms", "commands", "claim CPU us", "Redis us")
    print("".join(f"{head:>13}" for head in heads))
    for row in document["sizes"]:
        print(
            f"{row['workers']:>13}{row['open_jobs']:>13}{row['tick_client_cpu_s'] * 1e3:>13.1f}"
            f"{row['tick_server_cpu_s'] * 1e3:>13.1f}{row['tick_commands']:>13.0f}"
            f"{row['claim_client_cpu_s'] * 1e6:>13.0f}{row['claim_server_cpu_s'] * 1e6:>13.0f}"
        )
    last = document["sizes"][-1]
    print(f"claim, wall on this machine: p50 {last['claim_wall_p50_s']:.4f} s, p99 {last['claim_wall_p99_s']:.4f} s")
    for row in document["submits"]:
        print(f"memory per open job, up to {row['open_jobs']}: {row['memory_bytes']:.0f} bytes")
    print(f"memory per finished job: {document['finished_job_memory_bytes']:.0f} bytes")
    life = document["life"]
    print(f"a job's life ({life['jobs']} jobs): " + ", ".join(f"{k} {v:.4g}" for k, v in life["job"].items()))
    for name, fit in document["fits"].items():
        print(f"{name}: {fit['base']:.4g} + {fit['slope']:.4g} each")
    print("commands by name: " + ", ".join(f"{name} {n:g}" for name, n in life["calls"].items()))
    print("a worker's second at rest: " + ", ".join(f"{k} {v:.4g}" for k, v in document["worker_second"].items()))


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--finish", type=int, default=1000, help="jobs to take through Celery")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    document = measure(options.workers, options.jobs, options.finish)
    report(document)
    if options.json:
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    if options.plot:
        from benchmarks.scale.plot import draw

        draw(document, options.plot)


if __name__ == "__main__":
    main()
