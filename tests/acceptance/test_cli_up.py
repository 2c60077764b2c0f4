"""The whole fleet from the command line: one `up` for all tests here, used as another program would use it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from synerdiff.ledger import Ledger
from synerdiff.storage import read_receipt
from tests.support import wait_until

START_S = 240.0
AUTH = "ops:test-password"
FAST = ["--steps", "3", "--sampler", "ddim"]


def synerdiff(*arguments: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "synerdiff.cli", *map(str, arguments)]
    return subprocess.run(command, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=START_S)


@dataclass
class Up:
    """A running `synerdiff up --json`: its process, what it printed, and the settings that lead to it."""

    process: subprocess.Popen[str]
    document: dict[str, Any]

    @classmethod
    def start(cls, directory: Path) -> Up:
        command = [sys.executable, "-m", "synerdiff.cli", "up", "--json", "--dir", str(directory)]
        env = {**os.environ, "SYNERDIFF_FLOWER_BASIC_AUTH": AUTH}
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"up ended with {process.wait()}"
        return cls(process, json.loads(line))

    @property
    def settings(self) -> dict[str, str]:
        s3 = self.document["s3"]
        return {
            "SYNERDIFF_REDIS_URL": self.document["redis_url"],
            "SYNERDIFF_S3_ENDPOINT": s3["endpoint"],
            "SYNERDIFF_S3_BUCKET": s3["bucket"],
            "SYNERDIFF_S3_ACCESS_KEY": s3["access_key"],
            "SYNERDIFF_S3_SECRET_KEY": s3["secret_key"],
            "SYNERDIFF_MODEL": self.document["model"],
        }

    def processes(self) -> list[psutil.Process]:
        """All it started, and what these started."""
        found: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        return found

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(60)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    running = Up.start(tmp_path_factory.mktemp("up"))
    yield running
    if running.process.poll() is None:
        running.end(signal.SIGTERM)


def results(finished: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in finished.stdout.splitlines()]


def submitted(up: Up) -> int:
    ledger = Ledger.connect(up.document["redis_url"])
    try:
        return ledger.load(up.document["model"]).totals.get("submitted", 0)
    finally:
        ledger.close()


def test_up_prints_what_programs_need(up: Up) -> None:
    document = up.document
    assert set(document) == {"redis_url", "s3", "gateway_url", "flower_url", "model", "queues", "pids"}
    assert set(document["s3"]) == {"endpoint", "bucket", "access_key", "secret_key"}
    assert document["queues"] == ["synerdiff.tiny-emoji"]
    pids = document["pids"]
    assert set(pids) == {"redis", "s3", "scheduler", "gateway", "flower", "workers"}
    flat = [pid for name, pid in pids.items() if name != "workers"] + pids["workers"]
    assert len(pids["workers"]) == 1
    assert {child.pid for child in psutil.Process(up.process.pid).children()} == set(flat)


def test_generate_saves_images_that_match_their_records(up: Up, tmp_path: Path) -> None:
    finished = synerdiff(
        "generate", "a red apple", "--out", tmp_path, "--n", "2", "--seed", "5", "--json", *FAST, env=up.settings
    )
    assert finished.returncode == 0, finished.stderr
    (result,) = results(finished)
    assert result["state"] == "succeeded"
    assert [image["seed"] for image in result["images"]] == [5, 6]
    files = [Path(file) for file in result["files"]]
    assert all(file.is_absolute() for file in files)
    assert [hashlib.sha256(file.read_bytes()).hexdigest() for file in files] == [
        image["sha256"] for image in result["images"]
    ]
    assert set(result["timings"]) == {"queued", "encode", "denoise", "decode_wait", "decode", "upload", "total"}
    assert result["receipt"]["steps"] == 3
    embedded = read_receipt(files[0])
    assert embedded is not None
    assert embedded.job_id == result["id"]


def test_generate_takes_a_file_of_jobs(up: Up, tmp_path: Path) -> None:
    jobs = tmp_path / "jobs.jsonl"
    lines = [
        {"id": "first", "prompt": "a penguin", "steps": 2, "sampler": None, "seed": None},
        {"id": "second", "prompt": "a star", "guidance_scale": 1, "format": "webp"},
    ]
    jobs.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    finished = synerdiff("generate", "--jobs", jobs, "--out", tmp_path, "--steps", "4", "--json", env=up.settings)
    assert finished.returncode == 0, finished.stderr
    first, second = results(finished)
    assert (first["id"], first["receipt"]["steps"]) == ("first", 2)
    assert (second["id"], second["receipt"]["steps"]) == ("second", 4)
    assert second["files"][0].endswith(".webp")


def test_a_replay_makes_the_same_pixels(up: Up, tmp_path: Path) -> None:
    from PIL import Image

    made = synerdiff(
        "generate", "a blue heart", "--quality", "fast", "--steps", "12", "--out", tmp_path, "--json", env=up.settings
    )
    (result,) = results(made)
    assert result["receipt"]["rows_skipped"] > 0
    again = synerdiff("generate", "--replay", result["files"][0], "--out", tmp_path / "again", "--json")
    assert again.returncode == 0, again.stderr
    (repeated,) = results(again)
    with Image.open(result["files"][0]) as before, Image.open(repeated["files"][0]) as after:
        pairs = zip(before.tobytes(), after.tobytes(), strict=True)
    assert max(abs(one - other) for one, other in pairs) <= 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "no-such-model"], "no-such-model"),
        (["--width", "100"], "width must be a multiple of 8; got 100"),
        (["--steps", "0"], "steps must be at least 1; got 0"),
        (["--n", "17"], "n must be at most 16; got 17"),
        (["--guidance-scale", "nan"], "guidance_scale must be a finite number; got NaN"),
        (["--sampler", "magic"], "sampler must be one of"),
        (["--width", "2048", "--height", "2048", "--steps", "150", "--n", "4"], "cost (n x steps x width x height)"),
        (["--metadata", "nonsense"], "metadata must be given as key=value; got 'nonsense'"),
    ],
)
def test_a_bad_option_is_one_sentence_and_nothing_is_stored(up: Up, options: list[str], said: str) -> None:
    before = submitted(up)
    finished = synerdiff("generate", "a cat", *options, env=up.settings)
    assert finished.returncode == 2
    assert said in finished.stderr
    assert len(finished.stderr.strip().splitlines()) == 1
    assert submitted(up) == before


def test_a_prompt_over_the_cap_is_refused(up: Up) -> None:
    finished = synerdiff("generate", "x" * 2001, env=up.settings)
    assert finished.returncode == 2
    assert "prompt must be at most 2000 characters long; got 2001" in finished.stderr


def test_one_bad_line_keeps_the_whole_file_out(up: Up, tmp_path: Path) -> None:
    before = submitted(up)
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text('{"prompt": "a cat"}\n{"prompt": "a dog", "colour": "red"}\n')
    finished = synerdiff("generate", "--jobs", jobs, env=up.settings)
    assert finished.returncode == 2
    assert "job 1: colour is not a field of a job" in finished.stderr
    assert submitted(up) == before


def test_jobs_can_be_listed_shown_and_cancelled(up: Up, tmp_path: Path) -> None:
    made = results(synerdiff("generate", "a tree", "--out", tmp_path, "--json", *FAST, env=up.settings))[0]
    listed = results(synerdiff("jobs", "list", "--state", "succeeded", "--json", env=up.settings))
    assert made["id"] in [job["id"] for job in listed]
    (shown,) = results(synerdiff("jobs", "show", made["id"], "--urls", "--json", env=up.settings))
    with urllib.request.urlopen(shown["images"][0]["url"]) as response:
        assert hashlib.sha256(response.read()).hexdigest() == shown["images"][0]["sha256"]
    (cancelled,) = results(synerdiff("jobs", "cancel", made["id"], "--json", env=up.settings))
    assert cancelled["state"] == "succeeded"
    missing = synerdiff("jobs", "retry", made["id"], "no-such-job", env=up.settings)
    assert missing.returncode == 1
    assert "no-such-job" in missing.stderr


def test_doctor_reaches_everything(up: Up) -> None:
    (document,) = results(synerdiff("doctor", "--json", env=up.settings))
    assert document["dependencies"]["redis"]["reachable"]
    assert document["dependencies"]["redis"]["models"] == ["tiny-emoji"]
    assert document["dependencies"]["s3"]["reachable"]
    assert (Path(document["model_path"]) / "model_index.json").is_file()


def flower_get(up: Up, path: str) -> Any:
    request = urllib.request.Request(up.document["flower_url"] + path)
    request.add_header("Authorization", "Basic " + b64encode(AUTH.encode()).decode())
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def test_flower_shows_each_job_as_a_task(up: Up, tmp_path: Path) -> None:
    made = results(synerdiff("generate", "a secret prompt", "--out", tmp_path, "--json", *FAST, env=up.settings))[0]

    def task() -> dict[str, Any] | None:
        found: dict[str, Any] = flower_get(up, "/api/tasks").get(made["id"], {})
        return found if found.get("state") == "SUCCESS" else None

    shown = wait_until(task, 30, what="Flower's view of the job")
    assert shown["name"] == "synerdiff.generate"
    assert shown["runtime"] > 0
    assert "secret prompt" not in json.dumps(shown)


def test_flower_wants_its_password(up: Up) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(up.document["flower_url"] + "/api/tasks")


def test_stopping_leaves_no_process(up: Up) -> None:
    started = up.processes()
    assert len(started) >= 7  # six services and the worker's engine
    assert up.end(signal.SIGTERM) == 0
    assert [process for process in started if process.is_running()] == []


def test_killed_it_takes_its_children_along(tmp_path: Path) -> None:
    running = Up.start(tmp_path / "up")
    started = running.processes()
    running.end(signal.SIGKILL)
    wait_until(lambda: not [each for each in started if each.is_running()], 20, what="the end of every child")
