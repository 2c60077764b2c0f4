"""Decoded images on their way to the host, while the device goes on with the next slots."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from synerdiff.engine.decoding import Waiting
from synerdiff.engine.executors import HostCopies, HostCopy
from synerdiff.engine.image import pixel_rows
from synerdiff.engine.sample import Sample


@dataclass(frozen=True, slots=True, eq=False)
class Arrived:
    """An image on the host: ``rows`` ``[H, W, 3]``; those of an image that was not ``finite`` mean nothing."""

    waiting: Waiting
    rows: Tensor
    finite: bool


class Leaving:
    """Copies images to the host in the order of their decodes; where the host is the device they are there at once."""

    def __init__(self, device: torch.device, *, as_float: bool) -> None:
        self._copies = HostCopies(device)
        self._as_float = as_float
        self._queue: deque[tuple[Waiting, HostCopy, HostCopy]] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def start(self, waiting: Waiting, image: Tensor) -> None:
        """Send a decoded image, float32 ``[3, H, W]``, on its way."""
        rows = self._copies.start(pixel_rows(image, as_float=self._as_float))
        self._queue.append((waiting, rows, self._copies.start(torch.isfinite(image.sum()))))

    def remove(self, leaves: Callable[[Sample], bool]) -> None:
        """Drop the images of samples for which ``leaves`` is true."""
        self._queue = deque(entry for entry in self._queue if not leaves(entry[0].sample))

    def holds(self, job_id: str) -> bool:
        """Whether an image of the job is on its way."""
        return any(waiting.sample.job_id == job_id for waiting, *_ in self._queue)

    def pop(self, *, wait: bool) -> list[Arrived]:
        """Take out the images that have arrived; with ``wait`` at least the oldest has."""
        found: list[Arrived] = []
        while self._queue and (self._queue[0][2].ready or (wait and not found)):
            waiting, rows, finite = self._queue.popleft()
            found.append(Arrived(waiting, rows.get(), bool(finite.get())))
        return found
