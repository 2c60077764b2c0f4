"""When a worker gives its device up: failures in a row, told apart from jobs that break a healthy device."""

from __future__ import annotations

from collections.abc import Sequence

LIMIT = 3.0


class Strikes:
    """Counts engine failures since the last finished job.

    A failure with one quarantined job running alone is more likely the job's fault: it weighs half, and
    further failures of the same job nothing, since its attempts are bounded anyway.
    """

    def __init__(self) -> None:
        self.count = 0
        self._weight = 0.0
        self._suspects: set[str] = set()

    def add(self, alone: Sequence[str]) -> None:
        """Count a failure; ``alone`` holds the job that ran alone at the time, if one did."""
        self.count += 1
        fresh = [job_id for job_id in alone if job_id not in self._suspects]
        self._suspects.update(fresh)
        if not alone:
            self._weight += 1.0
        elif fresh:
            self._weight += 0.5

    def clear(self) -> None:
        """A job was finished: the device works."""
        self.count = 0
        self._weight = 0.0
        self._suspects.clear()

    @property
    def out(self) -> bool:
        """Whether the device has failed too often to be trusted."""
        return self._weight >= LIMIT
