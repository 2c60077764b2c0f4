"""Interleaved rounds: order, warm-up, medians and spread."""

from __future__ import annotations

import pytest

from synerdiff.engine.profiler.rounds import Samples, finish, rounds, silent


def test_tasks_take_turns_and_the_first_round_is_not_counted() -> None:
    order: list[str] = []

    def task(name: str, seconds: list[float]) -> tuple[float, ...]:
        order.append(name)
        return (seconds.pop(0),)

    first, second = [9.0, 1.0, 2.0, 3.0], [9.0, 5.0, 5.0, 5.0]
    found = finish(rounds({"a": lambda: task("a", first), "b": lambda: task("b", second)}, 3, ""), silent)
    assert order == ["a", "b"] * 4
    assert found["a"].medians == (2.0,)
    assert found["b"].medians == (5.0,)


def test_progress_ends_at_the_total() -> None:
    seen: list[tuple[int, int, str]] = []
    finish(rounds({1: lambda: (0.0,), 2: lambda: (0.0,)}, 2, "work"), lambda *told: seen.append(told))
    assert seen[0] == (0, 6, "work")
    assert seen[-1] == (6, 6, "work")


def test_medians_are_taken_part_by_part() -> None:
    assert Samples(((1.0, 10.0), (2.0, 30.0), (3.0, 20.0))).medians == (2.0, 20.0)


def test_spread_is_between_the_quartiles_of_the_total() -> None:
    assert Samples(((1.0, 0.0), (1.0, 1.0), (2.0, 1.0), (2.0, 2.0), (3.0, 2.0))).spread == pytest.approx(2 / 3)
    assert Samples(((1.0,),)).spread == 0.0
