"""A wrong output path is refused before a command begins, in one sentence that names the option."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from synerdiff.cli.console import exit_code
from synerdiff.cli.main import app
from synerdiff.cli.outputs import check_outputs, write_json
from synerdiff.protocol.errors import InvalidJob

COMMANDS = {
    "bench": ["bench", "--make", "few", "--jobs", "1"],
    "fidelity": ["fidelity"],
    "simulate": ["simulate", "--rate", "1"],
    "profile": ["profile"],
}
RUN = "the command began"


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (command, option)
        for command in COMMANDS
        for option in ("--json", "--plot")
        if command + option != "profile--json"
    ],
)
def test_a_path_that_cannot_be_written_is_refused_at_once(
    command: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for began in ("bench_run.prepare", "fidelity_run.load", "profile_run.obtain", "policy_input.read_profile"):
        monkeypatch.setattr(f"synerdiff.cli.{began}", lambda *_, **__: pytest.fail(RUN))
    found = CliRunner().invoke(app, [*COMMANDS[command], option, str(tmp_path / "none" / "out.png")])
    assert isinstance(found.exception, InvalidJob), found.output
    assert found.exception.message.startswith(f"{option} ")
    assert found.exception.message.endswith(f"there is no directory {tmp_path / 'none'}")
    assert exit_code(found.exception) == 2


def test_what_else_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidJob, match="--json must name a file"):
        check_outputs(json_file=tmp_path)
    with pytest.raises(InvalidJob, match="there is no directory"):
        check_outputs(json_file=tmp_path / "file" / "out.json")
    with pytest.raises(InvalidJob, match=r"--plot must end in \.png"):
        check_outputs(plot=tmp_path / "out.xyz")
    check_outputs(json_file=tmp_path / "new.json", plot=tmp_path / "new.png")
    check_outputs(json_file=Path("-"))
    check_outputs(json_file=tmp_path / "file")


def test_a_document_goes_to_a_file_or_fills_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not write_json({"a": 1}, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == {"a": 1}
    assert capsys.readouterr().out == ""
    assert write_json({"a": 1}, Path("-"))
    assert json.loads(capsys.readouterr().out) == {"a": 1}
    assert not write_json({"a": 1}, None)
