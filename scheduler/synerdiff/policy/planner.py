"""The threshold-aware planner: from a profile, a theta and a skip threshold to a plan with its table."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TypeVar

from synerdiff.policy.batch import batch_cap
from synerdiff.policy.cost import CostModel
from synerdiff.policy.plan import Plan, PlanTable, PlanView, check_theta
from synerdiff.policy.profile import Profile
from synerdiff.policy.table import auto_prices, build_table
from synerdiff.policy.threshold import Curve, price_cap, sustain_curve

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Ratings:
    """What the planner derives from a profile once.

    ``lone_job_s`` is the usual job when it is alone, the controller's unit; ``step_s`` one sample's step in a full
    batch, what work costs a busy device. ``key`` names the ratings in caches.
    """

    cost: CostModel
    batch_cap: int
    curve: Curve
    lone_job_s: float
    step_s: float
    key: tuple[str, int]


def rate(profile: Profile, capacity: int | None, max_waiting: int, *, forced_cap: int | None = None) -> Ratings:
    """Cost model, batch cap (at most ``capacity``, unless it is forced) and price curve of a profile."""
    cost = CostModel(profile)
    cap = forced_cap or min(batch_cap(cost), capacity or batch_cap(cost))
    unet = float(cost.unet_of(1)) * profile.steps
    return Ratings(
        cost=cost,
        batch_cap=cap,
        curve=sustain_curve(cost, cap, max_waiting),
        lone_job_s=profile.encode_s + profile.admit_s + unet + cost.decode_s,
        step_s=float(cost.unet_of(cap)) / cap,
        key=(profile.figures_hash, cap),
    )


class Planner:
    """Builds plans, keeping what depends on the profile alone; the oldest tables go first.

    ``max_active`` and ``max_waiting`` bound the tables; a batch cap beyond ``max_active`` widens them.
    """

    def __init__(self, *, max_active: int = 32, max_waiting: int = 32, kept: int = 64) -> None:
        self.max_active = max_active
        self.max_waiting = max_waiting
        self._kept = kept
        self._ratings: OrderedDict[Hashable, Ratings] = OrderedDict()
        self._tables: OrderedDict[Hashable, PlanTable] = OrderedDict()

    def ratings(self, profile: Profile, capacity: int | None = None, *, forced_cap: int | None = None) -> Ratings:
        """What plans for a profile are made from (see :func:`rate`)."""
        key = (profile.figures_hash, capacity, forced_cap)
        if key not in self._ratings:
            self._keep(self._ratings, key, rate(profile, capacity, self.max_waiting, forced_cap=forced_cap))
        return self._ratings[key]

    def table(self, ratings: Ratings, price: float | None) -> PlanTable:
        """The table for a price; ``None`` prices each number of active samples by the jobs it delays."""
        key = (*ratings.key, price)
        if key not in self._tables:
            most = max(self.max_active, ratings.batch_cap)
            asked = auto_prices(most, price_cap(ratings.batch_cap)) if price is None else price
            table = build_table(ratings.cost, asked, max_active=most, max_waiting=self.max_waiting)
            self._keep(self._tables, key, table)
        return self._tables[key]

    def plan(
        self,
        source: Profile | Ratings,
        *,
        theta: float | None,
        version: int,
        skip_above: int,
        capacity: int | None = None,
        reprofile: bool = False,
    ) -> PlanView:
        """The plan that sustains ``theta`` of the best sustainable rate (``None``: ``theta: auto``).

        ``source`` is a profile, whose batch cap ``capacity`` bounds, or its ratings.
        """
        check_theta(theta)
        ratings = self.ratings(source, capacity) if isinstance(source, Profile) else source
        price = None if theta is None else ratings.curve.price_for(theta)
        table = self.table(ratings, price)
        plan = Plan(
            version=version,
            profile_id=ratings.cost.profile.profile_id,
            batch_cap=ratings.batch_cap,
            skip_above=skip_above,
            table_hash=table.table_hash,
            theta=theta,
            price=price,
            reprofile=reprofile,
        )
        return PlanView(plan, table)

    def _keep(self, cache: OrderedDict[Hashable, Value], key: Hashable, value: Value) -> None:
        cache[key] = value
        while len(cache) > self._kept:
            cache.popitem(last=False)
