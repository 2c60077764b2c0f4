"""The upgrade check's command line."""

from __future__ import annotations

import sys

import pytest

from tools import upgrade_check


@pytest.mark.parametrize("only", ["mixes,watcher", "", "handover "])
def test_a_part_that_does_not_exist_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], only: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["upgrade_check", "--from", "no-such-commit", "--only", only])
    with pytest.raises(SystemExit) as ended:
        upgrade_check.main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert f"--only must name parts among mixes, watchers, handover; got {only.split(',')[-1]!r}" in said
