"""Which pilot steers for which pool and profile, made anew when the profile or the capacity changed."""

from __future__ import annotations

from dataclasses import dataclass

from synerdiff.ledger import Ledger, PlanningReport
from synerdiff.policy import PolicyError
from synerdiff.policy.allowance import SkipFrom
from synerdiff.policy.planner import Planner
from synerdiff.scheduler.pilot import Pilot, read_profile
from synerdiff.telemetry import get_logger

log = get_logger(__name__)

REREAD_TICKS = 10

Key = tuple[str, str]
"""Pool and profile id."""


@dataclass(slots=True)
class _Known:
    document: str | None
    capacity: int
    pilot: Pilot | None
    age: int = 0


class Pilots:
    """Pilots by pool and profile; profiles are read from the ledger again every tenth tick."""

    def __init__(self, ledger: Ledger, skip_from: SkipFrom = "start") -> None:
        self._ledger = ledger
        self._skip_from = skip_from
        self._planner = Planner()
        self._known: dict[Key, _Known] = {}

    def get(self, key: Key, report: PlanningReport, capacity: int) -> Pilot | None:
        """The pilot for one profile's workers, of which ``report`` is one; None where no good profile is published."""
        known = self._known.get(key)
        if known is not None and known.capacity == capacity and known.age < REREAD_TICKS:
            known.age += 1
            return known.pilot
        document = self._ledger.get_profile(key[1]) if key[1] else None
        if known is not None and known.capacity == capacity and known.document == document:
            known.age = 0
            return known.pilot
        known = _Known(document, capacity, self._new(key, document, report, capacity))
        self._known[key] = known
        return known.pilot

    def forget(self) -> None:
        """Read every profile anew, and start every controller anew."""
        self._known.clear()

    def _new(self, key: Key, document: str | None, report: PlanningReport, capacity: int) -> Pilot | None:
        pool, profile_id = key
        if document is None:
            log.info("no profile yet: the default plan is in force", pool=pool, profile_id=profile_id)
            return None
        try:
            return Pilot(read_profile(document, report), self._planner, capacity, self._skip_from)
        except PolicyError as error:
            log.warning("profile not used", pool=pool, profile_id=profile_id, reason=str(error))
            return None
