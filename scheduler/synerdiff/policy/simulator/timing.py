"""Slot times, looked up: the simulator asks the same few thousand again and again."""

from __future__ import annotations

from synerdiff.policy.cost import CostModel


class SlotTimes:
    """U and T of a cost model by rows and chunks, computed once each."""

    def __init__(self, cost: CostModel) -> None:
        self.cost = cost
        self.per_decode = cost.chunks_per_decode
        self._unet: dict[int, float] = {}
        self._chunks: dict[tuple[str, int, int], float] = {}
        self._slots: dict[tuple[int, str, int, int], float] = {}

    def unet(self, rows: int) -> float:
        """Seconds of a UNet call alone."""
        if rows not in self._unet:
            self._unet[rows] = float(self.cost.unet(rows))
        return self._unet[rows]

    def exact_extra(self, rows: int) -> float:
        """Seconds more of a UNet call of so few rows that an ``exact`` image in it has them called otherwise."""
        exact_s = self.cost.profile.exact_s
        if not 0 < rows <= len(exact_s):
            return 0.0
        return exact_s[rows - 1] + self.cost.profile.slot_s - self.unet(rows)

    def chunk_s(self, granularity: str, position: int, chunks: int) -> float:
        """Seconds of ``chunks`` alone from ``position`` in a decode; the finest cut where the asked has no border."""
        key = (granularity, position, chunks)
        if key not in self._chunks:
            self._chunks[key] = self._cut_s(granularity, position, chunks)
        return self._chunks[key]

    def slot(self, rows: int, granularity: str, position: int, chunks: int) -> float:
        """T of a slot: a UNet call of ``rows`` rows (0: none) and ``chunks`` of decoding (0: none)."""
        if not chunks:
            return self.unet(rows)
        key = (rows, granularity, position, chunks)
        if key not in self._slots:
            taken = self.chunk_s(granularity, position, chunks)
            time = self.cost.beside(rows, taken)[0] if rows else self.cost.alone(taken)
            self._slots[key] = float(time)
        return self._slots[key]

    def _cut_s(self, granularity: str, position: int, chunks: int) -> float:
        whole, rest = divmod(position + chunks, self.per_decode)
        asked = [cut for cut in self.cost.cuts if cut.name == granularity]
        for cut in (*asked, self.cost.cuts[-1]):
            seconds = dict(zip(cut.ends.tolist(), cut.seconds.tolist(), strict=True))
            if position in seconds and rest in seconds:
                return float(whole * seconds[self.per_decode] + seconds[rest] - seconds[position])
        raise AssertionError("the finest cut has every border")
