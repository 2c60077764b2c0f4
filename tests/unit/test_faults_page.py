"""Figures of fault runs go into the rows of the page that they are about, and nowhere else."""

from __future__ import annotations

from typing import Any

from benchmarks.faults.bench import FAULTS
from benchmarks.faults.figures import steady
from benchmarks.faults.page import PAGE, filled
from benchmarks.faults.run import injections
from synerdiff.protocol import JobEvent

TEXT = """# Words

| Seed | Minutes |
|---|---|
| 1 | old |
| 2 | old |

| Fault | What happens | times |
|---|---|---|
| killed (`worker_kill`) | its jobs run alone | 9 | 9 |
| never (`burst`) | in turn | 9 | 9 |
"""


def _run(seed: int, again_s: float | None) -> dict[str, Any]:
    row = {"fault": "worker_kill", "hit": 4, "taken_back_s": 10.0, "first_again_s": 11.0, "in_work_again_s": again_s}
    return {
        "seed": seed, "minutes": 20.6, "faults": [{**row, "lost": 0, "doubled": 0}], "accepted": 50, "refused": 3,
        "ends": {"succeeded": 48, "dead": 2}, "lost": 0, "doubled": 0, "left_over": 1,
    }  # fmt: skip


def test_each_run_has_its_row_and_each_fault_its_span() -> None:
    page = filled(TEXT, [_run(2, None), _run(1, 13.0), _run(3, 15.5)]).splitlines()
    assert page[4:7] == [f"| {seed} | 21 | 1 | 50 | 3 | 48 | 2 | 0 | 0 | 0 | 1 |" for seed in (1, 2, 3)]
    assert page[10] == ("| killed (`worker_kill`) | its jobs run alone | 3 | 12 | 10.0 | 11.0 | 13.0 to 15.5 | 0 | 0 |")
    assert page[11] == "| never (`burst`) | in turn | 0 | 0 | - | - | - | 0 | 0 |"
    assert [*page[:4], *page[7:10]] == [*TEXT.splitlines()[:4], *TEXT.splitlines()[6:9]]


def test_the_page_has_a_row_for_every_fault() -> None:
    assert injections
    text = PAGE.read_text()
    assert [name for name in FAULTS if f"(`{name}`) |" not in text] == []


def test_a_job_over_whose_life_the_clock_was_moved_is_not_timed() -> None:
    assert steady([JobEvent(kind="queued", at=1.0), JobEvent(kind="started", at=2.0)])
    assert not steady([JobEvent(kind="started", at=62.0), JobEvent(kind="succeeded", at=3.0)])
