"""The limit of a worker's departure."""

from __future__ import annotations

import threading

from synerdiff.workers.overdue import Overdue
from tests.support import wait_until


def test_the_first_of_several_limits_counts() -> None:
    ended = threading.Event()
    overdue = Overdue(ended.set)
    overdue.start()
    overdue.within(3600.0)
    wait_until(lambda: overdue._limits.empty(), what="the first limit to be taken")
    assert not ended.is_set()
    overdue.within(0.0)
    overdue.within(7200.0)
    assert ended.wait(30)
