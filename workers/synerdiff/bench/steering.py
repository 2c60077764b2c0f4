"""The scheduler inside the bench: the service's own tick, driven by the run's own load."""

from __future__ import annotations

from collections.abc import Callable

from synerdiff.policy.plan import PlanView
from synerdiff.policy.planner import Planner, Ratings
from synerdiff.policy.profile import Profile
from synerdiff.policy.steering import Load, Steering, ThetaMode

TICK_S = 1.0


class Scheduler:
    """Writes a plan once a second, as the scheduler service does for a fleet of one device.

    ``shape`` changes each plan before it is followed (the ablation's variants).
    """

    def __init__(
        self,
        profile: Profile,
        capacity: int,
        mode: ThetaMode = "profile",
        shape: Callable[[PlanView], PlanView] = lambda view: view,
    ) -> None:
        self._profile = profile
        self._capacity = capacity
        self._planner = Planner()
        self._steering = Steering(self.ratings, mode)
        self._shape = shape
        self._version = 0
        self._ticked_s = -TICK_S

    @property
    def ratings(self) -> Ratings:
        """The profile's cost model, batch cap and price curve."""
        return self._planner.ratings(self._profile, self._capacity)

    def due(self, now_s: float) -> bool:
        """Whether a tick has passed since the last plan."""
        return now_s - self._ticked_s >= TICK_S

    def plan(self, now_s: float, load: Load) -> PlanView:
        """The plan for now."""
        target = self._steering.tick(load, now_s - self._ticked_s)
        self._ticked_s, self._version = now_s, self._version + 1
        made = self._planner.plan(
            self._profile,
            theta=target.theta,
            version=self._version,
            skip_above=target.skip_above,
            capacity=self._capacity,
        )
        return self._shape(made)
