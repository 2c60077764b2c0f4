"""What a slot is to run, what it ran, and the report of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from synerdiff.engine.executors import SlotTimes
from synerdiff.engine.groups import Group
from synerdiff.engine.prediction import SlotPrediction
from synerdiff.engine.types import SlotReport
from synerdiff.policy import Action, PlanTable, Profile


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """What one slot runs: the group that steps (None: the UNet rests), which of its members skip the
    unconditional pass, the decode work, and the seconds that should take (0: not known)."""

    group: Group | None
    skipping: frozenset[int]
    decodes: list[Callable[[], int]]
    predicted_s: float


@dataclass(frozen=True, slots=True)
class Ran:
    """What slot number ``slot`` did: rows of the UNet call, decode chunks, the newest times that are known, the
    members that had no memory, the rows that were skipped, and how often the call was cut. Where it ``starved``, the
    step as a whole found no memory and was not made."""

    slot: int
    rows: int
    chunks: int
    times: SlotTimes | None
    unfit: frozenset[int]
    skipped: int = 0
    splits: int = 0
    starved: bool = False


class SlotReports:
    """Reports of slots: what each should have taken by the profile, beside what it took."""

    def __init__(self) -> None:
        self._prediction: SlotPrediction | None = None
        self._predicted: dict[int, float] = {}

    def predict_by(self, profile: Profile) -> None:
        """Predict by this profile from now on."""
        self._prediction = SlotPrediction(profile)

    def expected_s(
        self,
        rows: int,
        action: Action,
        table: PlanTable,
        waiting: int,
        fits: Callable[[Callable[[int, int], bool]], bool],
    ) -> float:
        """Seconds of a slot by the profile; 0 without one, or where an image is of another size than its own:
        ``fits`` says whether all images are of a size that it is given a test for."""
        prediction = self._prediction
        if prediction is None or not fits(prediction.fits):
            return 0.0
        return prediction.seconds(rows, action, table, waiting)

    def began(self, slot: int, predicted_s: float) -> None:
        """Remember what a slot should take until its times are known."""
        self._predicted[slot] = predicted_s

    def report(self, ran: Ran, measured_s: float, *, active: int, waiting: int) -> SlotReport:
        """The report of the slot that just ran; with a device that is not waited for, of an earlier one's times."""
        times = ran.times
        if times is None:
            predicted_s = 0.0
        else:
            # A device that is not waited for tells an earlier slot's times, and those are what it took.
            predicted_s = self._predicted.pop(times.slot, 0.0)
            measured_s = measured_s if times.slot == ran.slot else times.slot_s
            self._predicted = {slot: each for slot, each in self._predicted.items() if slot > times.slot}
        return SlotReport(
            predicted_s=predicted_s,
            measured_s=measured_s,
            rows=ran.rows,
            chunks=ran.chunks,
            active=active,
            waiting=waiting,
            unet_s=0.0 if times is None else times.unet_s,
            vae_s=0.0 if times is None else times.vae_s,
            skipped=ran.skipped,
            splits=ran.splits,
        )
