"""How far estimated times are off: the gateway's ``eta_s`` right after each submit, against what came.

python -m benchmarks.eta [--jobs 24] [--seed 1]

Starts a whole fleet (``synerdiff up``), submits jobs of mixed steps and counts in bursts and alone, and compares.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import httpx

STEPS = (10, 20, 30)
GAPS_S = (0.0, 0.0, 0.1, 1.0)


def submit_all(http: httpx.Client, jobs: int, seed: int) -> list[tuple[str, float, float | None, int]]:
    """Submit; for each job its id, when, its ``eta_s`` and position then."""
    draw = random.Random(seed)
    found = []
    for _ in range(jobs):
        fields = {"prompt": "a red apple", "steps": draw.choice(STEPS), "n": draw.choice((1, 1, 2)), "quality": "exact"}
        job_id = http.post("/v1/jobs", json=fields).raise_for_status().json()["id"]
        view = http.get(f"/v1/jobs/{job_id}").json()
        found.append((job_id, time.time(), view["eta_s"], view["position"] or 0))
        time.sleep(draw.choice(GAPS_S))
    return found


def wait_for_pace(http: httpx.Client) -> None:
    """Run jobs until a plan with a pace is in force."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        job_id = http.post("/v1/jobs", json={"prompt": "x", "steps": 2}).json()["id"]
        if http.get(f"/v1/jobs/{job_id}").json()["eta_s"] is not None:
            break
        time.sleep(1.0)
    while http.get(f"/v1/jobs/{job_id}").json()["finished_at"] is None:
        time.sleep(0.2)


def measure(http: httpx.Client, jobs: int, seed: int) -> dict[str, Any]:
    """The errors over one set of jobs."""
    wait_for_pace(http)
    asked = submit_all(http, jobs, seed)
    ratios, actual = [], []
    for job_id, at, eta_s, _ in asked:
        while (ended := http.get(f"/v1/jobs/{job_id}").json()["finished_at"]) is None:
            time.sleep(0.2)
        if eta_s is not None and ended > at:
            actual.append(ended - at)
            ratios.append(eta_s / (ended - at))
    return {
        "jobs": len(asked),
        "estimated": len(ratios),
        "actual_s_median": round(statistics.median(actual), 2),
        "estimate_over_actual_median": round(statistics.median(ratios), 3),
        "relative_error_median": round(statistics.median(abs(ratio - 1) for ratio in ratios), 3),
        "relative_error_worst": round(max(abs(ratio - 1) for ratio in ratios), 3),
    }


def main() -> None:
    """Start a fleet and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "synerdiff.cli", "up", "--json", "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as fleet:
            try:
                assert fleet.stdout is not None
                stack = json.loads(fleet.stdout.readline())
                with httpx.Client(base_url=stack["gateway_url"], timeout=60) as http:
                    print(json.dumps(measure(http, options.jobs, options.seed)), flush=True)
            finally:
                fleet.send_signal(signal.SIGTERM)


if __name__ == "__main__":
    main()
