"""``synerdiff profile``: measured once, printed for programs and people, drawn and published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from benchmarks.checkpoints import make_checkpoint
from synerdiff.cli.main import app
from synerdiff.ledger import Ledger, WorkerReport
from synerdiff.policy.profile import parse_profile
from synerdiff.protocol.errors import InvalidJob


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    monkeypatch.setenv("SYNERDIFF_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("SYNERDIFF_THREADS", "1")
    monkeypatch.setenv("COLUMNS", "200")


def test_a_profile_is_printed_drawn_published_and_kept(
    checkpoint: Path, tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNERDIFF_REDIS_URL", redis_url)
    options = ["profile", "--model", str(checkpoint), "--device", "cpu", "--max-rows", "2", "--repeats", "1"]
    first = CliRunner().invoke(app, [*options, "--json", "--publish", "--plot", str(tmp_path / "curves.png")])
    assert first.exception is None, first.output
    shown = json.loads(first.stdout)
    assert (shown["width"], shown["height"], shown["rows"], shown["row_cap"]) == (64, 64, [1, 2], 2)
    published = Ledger.connect(redis_url).get_profile(shown["profile_id"])
    assert published is not None
    assert parse_profile(published).profile_id == shown["profile_id"]
    assert (tmp_path / "curves.png").stat().st_size > 0

    padded = CliRunner().invoke(app, [*options, "--json", "--no-publish", "--unet-rows", "padded"])
    other = json.loads(padded.stdout)
    assert (other["unet_rows"], other["row_cap"]) == ("padded up to 32", 2)
    assert other["profile_id"] != shown["profile_id"]

    ledger = Ledger.connect(redis_url)
    ledger.put_profile(shown["profile_id"], "another")
    again = CliRunner().invoke(app, options)
    assert ledger.get_profile(shown["profile_id"]) == "another", "nobody asked, and no fleet of this model is there"
    assert shown["profile_id"] in again.stdout
    assert f"{shown['unet_s'][1] * 1000:.1f}" in again.stdout, "the kept figures, not new ones"

    ledger.heartbeat(WorkerReport(name="w", pool="tiny-emoji", capacity=1), 60.0)
    assert CliRunner().invoke(app, [*options, "--no-publish"]).exception is None
    assert ledger.get_profile(shown["profile_id"]) == "another"
    assert CliRunner().invoke(app, options).exception is None
    assert ledger.get_profile(shown["profile_id"]) == published


def test_a_size_that_the_model_cannot_make_is_refused_with_the_limit(checkpoint: Path) -> None:
    found = CliRunner().invoke(app, ["profile", "--model", str(checkpoint), "--width", "63"])
    assert isinstance(found.exception, InvalidJob)
    assert "width must be a multiple of 8 for this model; got 63" in str(found.exception)
