"""What the scheduler's probes say of the thread that takes jobs from Celery."""

from __future__ import annotations

from typing import cast

import pytest

from synerdiff.ledger import Ledger
from synerdiff.scheduler.metrics import STUCK_S, SchedulerMetrics


class Nothing:
    """A ledger without pools."""

    def pools(self) -> list[str]:
        return []

    def dead_letter_count(self) -> int:
        return 0


@pytest.mark.parametrize(
    ("silence_s", "said"),
    [
        (0.0, "ok"),
        (STUCK_S + 1, "no job could be taken from Celery for 121 s"),
        (None, "the thread that takes jobs from Celery has ended"),
    ],
)
def test_an_intake_that_stands_still_is_said(silence_s: float | None, said: str) -> None:
    metrics = SchedulerMetrics(cast(Ledger, Nothing()), 1.0)
    metrics.ticked(0.01, leads=True)
    metrics.follow(lambda: silence_s)
    assert metrics.live() == {"loop": "ok", "intake": said}
    assert metrics.ready() == {"tick": "ok", "intake": said}
