"""A short fault bench: the real stack under load, a few quick faults, nothing lost and nothing doubled."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QUICK = ("worker_kill", "hints_tripled", "hints_lost", "malformed", "clients_killed", "broker_kill", "cancel_queued")


@pytest.mark.timeout(600)  # a minute where nothing else runs
def test_a_few_faults_lose_and_double_nothing(tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    options = ["--seed", "7", "--minutes", "6", "--rounds", "1", "--faults", ",".join(QUICK), "--open-jobs", "6"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.faults", *options, "--dir", str(tmp_path / "run"), "--json", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    document = json.loads(out.read_text())
    assert sorted(row["fault"] for row in document["faults"]) == sorted(QUICK)
    assert [row for row in document["faults"] if row["lost"] or row["doubled"]] == []
    assert document["ends"]["succeeded"] > len(QUICK)
    assert not any(document["invariants"].values())
