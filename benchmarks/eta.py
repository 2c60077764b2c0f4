"""How far estimated times are off: the gateway's ``eta_s`` against what came, at three moments of each job.

python -m benchmarks.eta [--jobs 60] [--rate 0.8] [--warm-s 15] [--seed 1]

Starts a whole fleet (``synerdiff up``) and submits jobs of mixed steps and counts at random (Poisson) moments. Each is
asked about right after its submit, when it is first seen running, and when half of its steps are done. The jobs of the
first ``--warm-s`` seconds are not counted. An error is that of the seconds left: ``|eta_s - left| / left``.
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
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import httpx

STEPS = (10, 20, 30)
COUNTS = (1, 1, 2)
LOOK_S = 0.2
MOMENTS = ("submit", "start", "half")


@dataclass(slots=True)
class Followed:
    """A job: when it was asked about, what was said then by moment, and when it ended."""

    counted: bool
    said: dict[str, tuple[float, float]] = field(default_factory=dict)
    submitted_at: float = 0.0
    finished_at: float = 0.0

    def look(self, view: dict[str, Any]) -> bool:
        """Note what the gateway says now; whether the job is over."""
        if view["finished_at"] is not None:
            self.finished_at = view["finished_at"]
            return True
        if view["eta_s"] is not None:
            for moment in self._moments(view):
                self.said.setdefault(moment, (time.time(), view["eta_s"]))
        return False

    def _moments(self, view: dict[str, Any]) -> list[str]:
        started = view["state"] == "running"
        half = view["step"] * 2 >= view["job"]["steps"]
        return ["submit", *["start"] * started, *["half"] * (started and half)]


class Load:
    """Submits and follows jobs; a thread of its own looks at the open ones."""

    def __init__(self, http: httpx.Client, seed: int) -> None:
        self._http = http
        self._draw = random.Random(seed)
        self._open: dict[str, Followed] = {}
        self._submitted = threading.Event()
        self.jobs: list[Followed] = []

    def run(self, jobs: int, rate: float, warm_s: float) -> None:
        """Submit so many that count, after the warm-up, and wait for their ends."""
        looking = threading.Thread(target=self._follow)
        looking.start()
        began = time.monotonic()
        while sum(job.counted for job in self.jobs) < jobs:
            self._submit(counted=time.monotonic() - began > warm_s)
            time.sleep(self._draw.expovariate(rate))
        self._submitted.set()
        looking.join()

    def _submit(self, *, counted: bool) -> None:
        steps, n = self._draw.choice(STEPS), self._draw.choice(COUNTS)
        fields = {"prompt": "a red apple", "steps": steps, "n": n, "quality": "exact"}
        job_id = self._http.post("/v1/jobs", json=fields).raise_for_status().json()["id"]
        followed = Followed(counted, submitted_at=time.time())
        followed.look(self._view(job_id))
        self.jobs.append(followed)
        self._open[job_id] = followed

    def _view(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self._http.get(f"/v1/jobs/{job_id}").raise_for_status().json()
        return found

    def _follow(self) -> None:
        while self._open or not self._submitted.is_set():
            for job_id, followed in list(self._open.items()):
                if followed.look(self._view(job_id)):
                    del self._open[job_id]
            time.sleep(LOOK_S)


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


def figures(jobs: list[Followed]) -> dict[str, Any]:
    """Errors by moment."""
    ratios: defaultdict[str, list[float]] = defaultdict(list)
    for job in jobs:
        for moment, (at, eta_s) in job.said.items():
            if job.counted and job.finished_at > at:
                ratios[moment].append(eta_s / (job.finished_at - at))
    took = [job.finished_at - job.submitted_at for job in jobs if job.counted]
    found: dict[str, Any] = {"jobs": len(took), "e2e_s_median": round(statistics.median(took), 2)}
    for moment in MOMENTS:
        errors = sorted(abs(ratio - 1) for ratio in ratios[moment])
        found[moment] = {
            "asked": len(errors),
            "relative_error_median": round(statistics.median(errors), 3),
            "relative_error_p90": round(errors[int(0.9 * (len(errors) - 1))], 3),
            "estimate_over_actual_median": round(statistics.median(ratios[moment]), 3),
        }
    return found


def main() -> None:
    """Start a fleet and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=60)
    parser.add_argument("--rate", type=float, default=0.8, help="jobs a second")
    parser.add_argument("--warm-s", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "synerdiff.cli", "up", "--json", "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as fleet:
            try:
                assert fleet.stdout is not None
                stack = json.loads(fleet.stdout.readline())
                with httpx.Client(base_url=stack["gateway_url"], timeout=60) as http:
                    wait_for_pace(http)
                    load = Load(http, options.seed)
                    load.run(options.jobs, options.rate, options.warm_s)
                    print(json.dumps(figures(load.jobs)), flush=True)
            finally:
                fleet.send_signal(signal.SIGTERM)


if __name__ == "__main__":
    main()
