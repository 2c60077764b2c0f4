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

    ``shape`` changes each plan before it is followed (the ablation's variants). ``planner`` keeps its tables from one
    run to the next, as that of a service that is up does.
    """

    def __init__(
        self,
        profile: Profile,
        capacity: int,
        mode: ThetaMode = "profile",
        shape: Callable[[PlanView], PlanView] = lambda view: view,
        planner: Planner | None = None,
    ) -> None:
        self._planner = planner or Planner()
        self.ratings: Ratings = self._planner.ratings(profile, capacity)
        self._steering = Steering(self.ratings, mode)
        self._shape = shape
        self._version = 0
        self._ticked_s = -TICK_S

    def due(self, now_s: float) -> bool:
        """Whether a tick has passed since the last plan."""
        return now_s - self._ticked_s >= TICK_S

    def plan(self, now_s: float, load: Load) -> PlanView:
        """The plan for now."""
        target = self._steering.tick(load, now_s - self._ticked_s)
        self._ticked_s, self._version = now_s, self._version + 1
        made = self._planner.plan(self.ratings, theta=target.theta, version=self._version, skip_above=target.skip_above)
        return self._shape(made)
