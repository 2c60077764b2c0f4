"""How long a hint for another worker is kept before it goes on."""

from __future__ import annotations

from synerdiff.workers.passing import FIRST_S, FORGET_S, MOST_S, REMEMBERED, PassingOn


def test_a_hint_that_comes_back_is_kept_twice_as_long_up_to_a_second() -> None:
    now = 100.0
    passing = PassingOn(lambda: now)
    waits = []
    for _ in range(7):
        wait_s = passing.wait_s("job")
        assert wait_s is not None
        assert passing.wait_s("job") is None, "a second copy meanwhile"
        waits.append(wait_s)
        now += wait_s
    assert waits[:3] == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S]
    assert waits[-1] == MOST_S
    assert passing.wait_s("other") == FIRST_S
    now += FORGET_S
    assert passing.wait_s("job") == FIRST_S


def test_only_the_latest_are_remembered() -> None:
    now = 0.0
    passing = PassingOn(lambda: now)
    for number in range(REMEMBERED + 1):
        passing.wait_s(str(number))
    now = FIRST_S
    assert passing.wait_s("0") == FIRST_S
    assert passing.wait_s(str(REMEMBERED)) == 2 * FIRST_S
