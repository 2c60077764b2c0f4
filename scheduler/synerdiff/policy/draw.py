"""Drawing a plan's slots as text: the UNet call's bar with the decode chunks beside it."""

from __future__ import annotations

from dataclasses import dataclass

from synerdiff.policy.cost import CostModel
from synerdiff.policy.plan import PlanView
from synerdiff.policy.simulator.timing import SlotTimes

UNET, VAE, EMPTY = "█", "▒", "·"
WIDTH = 36


@dataclass(frozen=True, slots=True)
class DrawnSlot:
    """One slot of a plan at saturation: its times in seconds, rows, chunks, and the images that waited as it began."""

    start_s: float
    slot_s: float
    unet_s: float
    chunk_s: float
    rows: int
    chunks: int
    granularity: str
    waiting: int


def saturated_slots(cost: CostModel, view: PlanView, *, active: int, steps: int, count: int) -> list[DrawnSlot]:
    """The slots that the plan runs with ``active`` samples spread evenly over their steps, from the first finish on."""
    times, found = SlotTimes(cost), list[DrawnSlot]()
    scale = cost.chunks_per_decode // view.table.chunks_per_decode
    rows = active * cost.profile.rows_per_sample
    waiting, credit, clock = cost.chunks_per_decode, 0.0, 0.0
    for _ in range(count):
        action = view.action(active, -(-waiting // scale))
        chunks, position = min(action.chunks * scale, waiting), -waiting % cost.chunks_per_decode
        ran = rows if action.run_unet else 0
        length = times.slot(ran, action.granularity, position, chunks)
        chunk_s = times.chunk_s(action.granularity, position, chunks) if chunks else 0.0
        unet_s = times.unet(ran) if ran else 0.0
        images = -(-waiting // cost.chunks_per_decode)
        found.append(DrawnSlot(clock, length, unet_s, chunk_s, ran, chunks, action.granularity, images))
        clock, credit = clock + length, credit + (active / steps if ran else 0.0)
        finished = int(credit + 1e-9)
        waiting, credit = waiting - chunks + finished * cost.chunks_per_decode, credit - finished
    return found


def draw(slots: list[DrawnSlot], per_decode: int) -> list[str]:
    """Lines of text, a slot in two: bars in proportion to the seconds that each side takes alone."""
    longest = max((max(slot.unet_s, slot.chunk_s) for slot in slots), default=0.0) or 1.0

    def bar(seconds: float, mark: str) -> str:
        length = max(round(seconds / longest * WIDTH), 1 if seconds else 0)
        return (mark * length).ljust(WIDTH, EMPTY)

    lines = []
    for number, slot in enumerate(slots, start=1):
        unet = f"{slot.rows} rows, {slot.unet_s * 1e3:.0f} ms" if slot.rows else "rests"
        decode = f"{slot.chunks}/{per_decode} of a decode ({slot.granularity}), {slot.chunk_s * 1e3:.0f} ms"
        at = f"{slot.start_s * 1e3:7.0f} ms"
        lines.append(f"{number:3}  {at}  UNet {bar(slot.unet_s, UNET)} {unet}")
        lines.append(
            f"     {slot.slot_s * 1e3:6.0f} ms  VAE  {bar(slot.chunk_s, VAE)} {decode if slot.chunks else '-'}"
        )
    return lines
