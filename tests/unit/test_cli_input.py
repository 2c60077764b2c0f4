"""What `generate` makes of options and files, and how errors reach the person."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from synerdiff.bench import suite
from synerdiff.cli import extras
from synerdiff.cli.console import exit_code
from synerdiff.cli.diagnosis import settings_table
from synerdiff.cli.flower import flower_arguments
from synerdiff.cli.generation import job_fields
from synerdiff.cli.job_input import by_line, read_jobs, read_metadata
from synerdiff.cli.main import main
from synerdiff.cli.replay import read
from synerdiff.cli.vocabulary import POLICIES
from synerdiff.policy import simulator
from synerdiff.protocol import FieldError, Receipt
from synerdiff.protocol.errors import (
    InvalidJob,
    JobFailed,
    LedgerUnavailable,
    SettingsError,
    SynerDiffError,
    TraceError,
    UnknownModel,
)
from synerdiff.settings import load

REQUEST: dict[str, str | int | float] = {
    "prompt": "a cat",
    "negative_prompt": "",
    "width": 128,
    "height": 128,
    "steps": 4,
    "guidance_scale": 5.0,
    "sampler": "ddim",
    "seed": 1,
    "n": 1,
    "quality": "exact",
}


def jobs_file(directory: Path, text: str) -> Path:
    path = directory / "jobs.jsonl"
    path.write_text(text)
    return path


def test_options_are_defaults_for_the_lines_of_a_file(tmp_path: Path) -> None:
    path = jobs_file(tmp_path, '{"prompt": "a", "steps": 3}\n\n{"prompt": "b", "steps": null}\n')
    assert read_jobs(path, {"steps": 9}) == [{"prompt": "a", "steps": 3}, {"prompt": "b", "steps": 9}]


def test_a_line_ends_at_a_line_feed_alone(tmp_path: Path) -> None:
    path = jobs_file(tmp_path, '{"prompt": "a\u2028b"}\r\n{"prompt": "c"}\n')
    assert [job["prompt"] for job in read_jobs(path, {})] == ["a\u2028b", "c"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no job"),
        ('{"prompt": "a"}\n{', r"jobs\.jsonl:2 is not JSON"),
        ("[" * 100_000, r"jobs\.jsonl:1 is not JSON"),
        ('["a"]', r"jobs\.jsonl:1 must be a JSON object"),
    ],
)
def test_a_file_that_holds_no_jobs_says_where(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidJob, match=said):
        read_jobs(jobs_file(tmp_path, text), {})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidJob, match=r"none\.jsonl cannot be read: No such file"):
        read_jobs(tmp_path / "none.jsonl", {})


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidJob, match="it is not UTF-8 text"):
        read_jobs(path, {})


def test_metadata_comes_as_pairs() -> None:
    assert read_metadata(["a=1", "b=x=y"]) == {"a": "1", "b": "x=y"}
    assert read_metadata([]) is None
    with pytest.raises(InvalidJob, match="key=value"):
        read_metadata(["a"])


def test_a_prompt_or_a_file_is_needed_but_not_both(tmp_path: Path) -> None:
    with pytest.raises(InvalidJob, match="prompt is required"):
        job_fields(None, {})
    with pytest.raises(InvalidJob, match="prompt cannot be given together with --jobs"):
        job_fields(jobs_file(tmp_path, "{}"), {"prompt": "a"})


def test_an_error_in_a_file_keeps_its_kind() -> None:
    error = UnknownModel([FieldError(field="jobs.0.model", message="job 0: no such model")])
    named = by_line(error, Path("jobs.jsonl"))
    assert isinstance(named, UnknownModel)
    assert named.message == "jobs.jsonl: job 0: no such model"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidJob([FieldError(field="n", message="n")]), 2),
        (SettingsError("x"), 2),
        (TraceError("x"), 2),
        (LedgerUnavailable("x"), 1),
        (JobFailed("x"), 1),
    ],
)
def test_exit_codes(error: SynerDiffError, code: int) -> None:
    assert exit_code(error) == code


def test_a_receipt_is_read_from_json_and_from_a_result(tmp_path: Path) -> None:
    receipt = Receipt(job_id="one", request=REQUEST)
    plain, result = tmp_path / "receipt.json", tmp_path / "result.json"
    plain.write_text(receipt.model_dump_json())
    result.write_text(f'{{"id": "one", "receipt": {receipt.model_dump_json()}}}')
    assert read(plain) == read(result) == receipt


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not json", "neither a receipt nor an image"),
        ("[1]", "neither a receipt"),
        ("{}", "does not say the job's prompt"),
    ],
)
def test_what_carries_no_receipt_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "receipt.json"
    path.write_text(text)
    with pytest.raises(InvalidJob, match=said):
        read(path)


def test_flower_gets_its_password_from_the_settings() -> None:
    plain = flower_arguments(load({"flower_port": 7000}))
    assert plain[:3] == ["flower", "--address=127.0.0.1", "--port=7000"]
    assert not [argument for argument in plain if "auth" in argument]
    assert flower_arguments(load({"flower_basic_auth": "a:b"}))[-1] == "--basic-auth=a:b"


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "synerdiff.cli", *arguments]
    return subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, timeout=120)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from synerdiff.cli.main import app\n"
        "from typer.testing import CliRunner\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "heavy = {'torch', 'numpy', 'celery', 'boto3', 'redis', 'pydantic', 'fastapi'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0, finished.stderr


def test_the_help_of_bench_and_simulate_names_every_policy() -> None:
    names = tuple(re.findall(r"([a-z-]+) \(", POLICIES))
    assert names == suite.POLICIES == simulator.POLICIES
    for command in ("bench", "simulate"):
        shown = " ".join(run(command, "--help", COLUMNS="100").stdout.split())
        assert all(name in shown for name in names)


@pytest.mark.parametrize("command", [["bench", "--make", "mixed"], ["profile"], ["fidelity"], ["worker"]])
def test_a_command_that_needs_torch_says_so_where_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    monkeypatch.setitem(extras.NEEDS, "worker", ("not_a_module",))
    monkeypatch.setattr(sys, "argv", ["synerdiff", *command])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    assert "not installed: not_a_module; install with: pip install 'synerdiff[worker]'" in capsys.readouterr().err


def test_an_unreachable_redis_is_one_sentence_with_a_hint() -> None:
    finished = run("generate", "a cat", SYNERDIFF_REDIS_URL="redis://user:secret@127.0.0.1:1/0")
    assert finished.returncode == 1
    (sentence,) = finished.stderr.strip().splitlines()
    for part in ("Redis", "127.0.0.1:1", "SYNERDIFF_REDIS_URL", "synerdiff up"):
        assert part in sentence
    assert "secret" not in sentence


def test_a_wrong_setting_names_its_variable() -> None:
    finished = run("up", SYNERDIFF_CAPACITY="none")
    assert finished.returncode == 2
    assert "SYNERDIFF_CAPACITY" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_doctor_reports_what_it_cannot_reach() -> None:
    finished = run("doctor", SYNERDIFF_REDIS_URL="redis://:secret@127.0.0.1:1/0")
    assert finished.returncode == 0
    assert "secret" not in finished.stdout


def test_doctor_lists_settings_without_their_secrets() -> None:
    finished = run("doctor", "--settings", SYNERDIFF_S3_SECRET_KEY="hush", SYNERDIFF_API_KEYS="a:hush")
    assert finished.returncode == 0
    assert "hush" not in finished.stdout


def test_doctor_tells_which_secrets_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNERDIFF_API_KEYS", "a:hush")
    monkeypatch.delenv("SYNERDIFF_WEBHOOK_SECRETS", raising=False)
    values = {row["variable"]: row["value"] for row in settings_table()}
    assert (values["SYNERDIFF_API_KEYS"], values["SYNERDIFF_WEBHOOK_SECRETS"]) == ("(set)", "")
    assert "hush" not in repr(load())
