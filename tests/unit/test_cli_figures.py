"""The demo's figures, its contact sheet, and the parts a stack is made of."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from PIL import Image

from synerdiff.cli import state
from synerdiff.cli.contact_sheet import contact_sheet
from synerdiff.cli.demo_workload import jobs
from synerdiff.cli.figures import latencies, percentile, rows
from synerdiff.cli.ports import GRPC_OFFSET, free_ports, require_free
from synerdiff.cli.stack import choose_ports
from synerdiff.protocol import Job, JobState, JobView, Limits, ModelEntry, Receipt, Timings, parse_job
from synerdiff.protocol.errors import SettingsError, Unavailable


def view(run: int, skipped: int, per_call: float) -> JobView:
    receipt = Receipt(rows_run=run, rows_skipped=skipped, rows_per_call=per_call)
    return JobView(id="a", state=JobState.SUCCEEDED, job=Job(prompt="a"), receipt=receipt)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2.0), (0.99, 4.0), (0.0, 1.0), (1.0, 4.0)])
def test_percentiles_are_values_that_occurred(share: float, expected: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], share) == expected


def test_latencies_cover_every_phase() -> None:
    table = latencies([Timings(total=1.0), Timings(total=3.0)])
    assert list(table) == list(Timings.model_fields)
    assert table["total"] == {"p50": 1.0, "p99": 3.0}


def test_rows_weigh_jobs_by_what_they_ran() -> None:
    counted = rows([view(30, 10, 8.0), view(10, 0, 4.0)])
    assert (counted.run, counted.skipped, counted.per_call) == (40, 10, 7.0)
    assert counted.saved == 0.2


def test_the_demos_jobs_are_valid_and_mixed() -> None:
    entry = ModelEntry(name="tiny-emoji", pool="tiny-emoji")
    parsed = [parse_job(job, limits=Limits(), entry=entry) for job in jobs()]
    assert len({job.id for job in parsed}) == len(parsed)
    assert sum(job.n for job in parsed if job.format == "png") >= 8
    for field in ("prompt", "steps", "guidance_scale", "sampler", "quality", "n", "format", "priority", "width"):
        assert len({getattr(job, field) for job in parsed}) > 1, field


def test_a_contact_sheet_holds_images_of_any_shape(tmp_path: Path) -> None:
    images = []
    for number, size in enumerate([(128, 128), (64, 128), (200, 100), (8, 8), (16, 16), (32, 32)]):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", size, (200, 0, 0)).save(path)
        images.append((path, "a caption that is longer than one line can hold\nand a second line"))
    sheet = tmp_path / "sheet.png"
    contact_sheet(images, sheet)
    with Image.open(sheet) as drawn:
        colours = {colour for _, colour in drawn.convert("RGB").getcolors(maxcolors=1 << 20) or []}
    assert (200, 0, 0) in colours


def test_free_ports_have_free_twins() -> None:
    ports = free_ports(5)
    assert len(set(ports)) == 5
    require_free([*ports, *(port + GRPC_OFFSET for port in ports)])
    assert max(ports) + GRPC_OFFSET < 65_536


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=f"port {port} of"):
            require_free([port])


def test_ports_follow_the_base() -> None:
    ports = choose_ports(17_000)
    assert [ports.redis, ports.gateway, ports.flower, *ports.s3] == list(range(17_000, 17_008))
    with pytest.raises(SettingsError, match="--port-base must be between 1024 and"):
        choose_ports(60_000)


def test_one_stack_a_directory(tmp_path: Path) -> None:
    held = state.lock(tmp_path)
    with pytest.raises(SettingsError, match="another stack runs in"):
        state.lock(tmp_path)
    held.close()
    state.lock(tmp_path).close()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot be used"):
        state.lock(tmp_path / "file" / "below")


def test_keys_survive_a_restart_and_stay_private(tmp_path: Path) -> None:
    keys = state.s3_keys(tmp_path)
    assert state.s3_keys(tmp_path) == keys
    assert (tmp_path / "s3-keys.json").stat().st_mode & 0o777 == 0o600


def test_exports_are_quoted(tmp_path: Path) -> None:
    state.write_exports(tmp_path / "env", {"A": "it's"})
    assert (tmp_path / "env").read_text() == "export A='it'\"'\"'s'\n"
