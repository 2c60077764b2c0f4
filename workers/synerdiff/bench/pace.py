"""How fast the machine is just now: the time of a fixed piece of work, since a shared one is not always alike."""

from __future__ import annotations

from statistics import median

import torch

from synerdiff.engine.model import LoadedModel
from synerdiff.engine.profiler.workload import Workload

CALLS = ((1, 4), (2, 3), (16, 1))
"""Rows of UNet calls, and how many of each; a decode comes to them."""
TURNS = 7


class Pace:
    """A few UNet calls and a decode of one model at its own size."""

    def __init__(self, model: LoadedModel) -> None:
        self._work = Workload(model, model.entry.default_width, model.entry.default_height)
        with torch.inference_mode():
            self._calls = [self._work.unet_call(rows) for rows, count in CALLS for _ in range(count)]
        self._turn()

    def seconds(self) -> float:
        """Seconds of all of them, the median of some turns."""
        return median(self._work.seconds(self._turn) for _ in range(TURNS))

    @torch.inference_mode()
    def _turn(self) -> None:
        for call in self._calls:
            call()
        self._work.decode("whole").run()
