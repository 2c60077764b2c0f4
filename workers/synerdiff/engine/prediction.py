"""What a slot should take by the profile; the scheduler compares it with what the slot took."""

from __future__ import annotations

from synerdiff.policy import Action, PlanTable, Profile
from synerdiff.policy.cost import CostModel
from synerdiff.policy.simulator.timing import SlotTimes


class SlotPrediction:
    """Predicts slots of one profile, whose figures hold for images of its size alone."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._times = SlotTimes(CostModel(profile))

    def fits(self, width: int, height: int) -> bool:
        """Whether an image of ``width`` x ``height`` pixels is of the profile's size."""
        return (width, height) == (self.profile.width, self.profile.height)

    def seconds(self, rows: int, action: Action, table: PlanTable, waiting: int) -> float:
        """Seconds of a slot with a UNet call of ``rows`` rows (0: none) and the action's chunks, while ``waiting``
        of the table's chunks are to be decoded; 0 where the profile does not tell."""
        scale, rest = divmod(self._times.per_decode, table.chunks_per_decode)
        chunks = min(action.chunks, waiting)
        if rest or not (rows or chunks):
            return 0.0
        position = -waiting % table.chunks_per_decode
        return self._times.slot(rows, action.granularity, position * scale, chunks * scale)
