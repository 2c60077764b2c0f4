"""Planning for one pool and profile: from its load and reports to the plan in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from synerdiff.ledger import PlanningReport, PoolLoad
from synerdiff.policy import PlanView, PolicyError, Profile, default_plan, parse_profile
from synerdiff.policy.allowance import SkipFrom
from synerdiff.policy.planner import Planner
from synerdiff.policy.steering import Steering
from synerdiff.policy.wire import document_hash, table_document
from synerdiff.scheduler.drift import Drift
from synerdiff.scheduler.load import load_of


class Pilot:
    """Steers by one profile; what the controller remembers lives here between ticks."""

    def __init__(self, profile: Profile, planner: Planner, capacity: int, skip_from: SkipFrom = "start") -> None:
        self.profile = profile
        self.figures = profile.figures_hash
        self.capacity = capacity
        self._planner = planner
        self.steering = Steering(planner.ratings(profile, capacity), skip_from=skip_from)
        self.drift = Drift()

    def plan(self, counters: PoolLoad, reports: Sequence[PlanningReport], devices: int, elapsed_s: float) -> PlanView:
        """The plan for now; its version is the caller's to set. ``reports`` are the profile's workers."""
        self.drift.take({report.name: report.slot for report in reports})
        target = self.steering.tick(load_of(counters, devices, self.profile), elapsed_s)
        return self._planner.plan(
            self.steering.ratings,
            theta=target.theta,
            version=0,
            skip_above=target.skip_above,
            reprofile=self.drift.parted,
        )

    def pace(self) -> dict[str, float | list[float]]:
        """What estimates of waiting times need: slot times by images in the batch, a decode's, an image's pixels
        and its rows in a full step."""
        ratings = self.steering.ratings
        step_s = [round(float(ratings.cost.unet_of(active)), 6) for active in range(1, ratings.batch_cap + 1)]
        pixels = self.profile.width * self.profile.height
        decode_s, rows = round(ratings.cost.decode_s, 6), self.profile.rows_per_sample
        return {"step_s": step_s, "decode_s": decode_s, "pixels": pixels, "rows": rows}


def fallback(capacity: int, skip_from: SkipFrom = "start") -> PlanView:
    """The plan where no profile can be used: the built-in default, published like any other."""
    view = default_plan(max(capacity, 1), skip_above=capacity // 2 if skip_from == "load" else 0)
    table = replace(view.table, table_hash=document_hash(table_document(view.table)))
    return PlanView(replace(view.plan, table_hash=table.table_hash, reprofile=True), table)


def read_profile(document: str, report: PlanningReport) -> Profile:
    """A published profile, checked against a worker that goes by it; raises :class:`PolicyError` naming the field."""
    profile = parse_profile(document)
    for name in ("model_hash", "device"):
        theirs, ours = getattr(report, name), getattr(profile, name)
        if theirs and ours and theirs != ours:
            raise PolicyError(name, f"is {ours!r:.60} in the profile, but the worker has {theirs!r:.60}")
    if profile.profile_id != report.profile_id:  # its plans would be refused by the workers
        raise PolicyError("profile_id", f"is {profile.profile_id}, but it was published as {report.profile_id!r:.60}")
    return profile
