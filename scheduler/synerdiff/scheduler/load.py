"""Reading a pool's load as the controller takes it."""

from __future__ import annotations

from collections.abc import Sequence

from synerdiff.ledger import PoolLoad, WorkerReport
from synerdiff.policy.profile import Profile
from synerdiff.policy.steering import Load


def ready_workers(reports: Sequence[WorkerReport]) -> list[WorkerReport]:
    """The workers that take jobs."""
    return [report for report in reports if report.state == "ready"]


def load_of(counters: PoolLoad, devices: int, profile: Profile) -> Load:
    """The pool's counters in the profile's terms: steps of an image of the profile's size."""
    steps = counters.outstanding_cost / (profile.width * profile.height)
    return Load(
        waiting_jobs=counters.queued,
        running_jobs=counters.running,
        open_steps=steps,
        open_images=steps / profile.steps,
        devices=max(devices, 1),
    )
