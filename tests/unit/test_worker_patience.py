"""How long a silent engine is borne."""

from __future__ import annotations

import pytest

from synerdiff.workers.patience import Patience


def after(*slots_s: float) -> float:
    patience = Patience(hang_s=30.0)
    for slot_s in slots_s:
        patience.took(slot_s)
    return patience.silence_s


def test_quick_slots_leave_it_at_the_setting() -> None:
    assert after() == after(*[0.2] * 100) == 30.0


def test_long_slots_are_borne_ten_times_over() -> None:
    assert after(*[25.0] * 5) == pytest.approx(250.0)


def test_one_frozen_slot_does_not_make_the_next_hang_long() -> None:
    assert after(*[0.2] * 100, 18.0) == 30.0
    assert after(*[25.0] * 5, 3600.0) == pytest.approx(500.0)


def test_what_was_slow_is_forgotten() -> None:
    assert after(*[25.0] * 5, *[0.2] * 300) == 30.0
