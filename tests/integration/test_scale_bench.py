"""The scale benchmark measures what it says, at a size that takes a moment."""

from __future__ import annotations

import pytest

from benchmarks.scale.fits import line
from benchmarks.scale.measure import Growth


def test_growth_counts_commands_bytes_and_memory(redis_url: str) -> None:
    growth = Growth(redis_url, lambda _: None)
    submit = growth.submit_up_to(400)
    growth.register_up_to(2)
    few = growth.at_this_size()
    growth.register_up_to(4)
    more = growth.at_this_size()
    growth.close()

    assert 1_000 < submit["memory_bytes"] < 20_000
    assert (few["workers"], few["open_jobs"], more["workers"]) == (2, 400, 4)
    assert more["claim_scripts"] == 1
    assert round(few["claim_commands"]) == round(more["claim_commands"])  # a claim does not grow with the fleet
    assert few["tick_commands"] <= more["tick_commands"] < 200
    assert more["tick_client_cpu_s"] > 0


def test_a_line_goes_through_its_points() -> None:
    fit = line([0, 10, 20], [1.0, 3.0, 5.0])
    assert fit.base == pytest.approx(1.0)
    assert fit.slope == pytest.approx(0.2)
