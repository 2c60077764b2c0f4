"""A pool's load as the planner takes it."""

from __future__ import annotations

from synerdiff.ledger import PoolLoad
from synerdiff.policy.profile import Profile
from synerdiff.policy.steering import Load


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
