"""Between host and device without waiting for the device: pinned memory, and a stream of their own for what is made."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Values of the host on the device, in the current stream's order.

    From pageable memory the host would wait until the stream has come that far; PyTorch keeps the pinned memory until
    the copy is done.
    """
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


@dataclass(frozen=True, slots=True, eq=False)
class HostCopy:
    """One tensor on its way to the host."""

    image: Tensor
    arrived: torch.cuda.Event | None

    @property
    def ready(self) -> bool:
        """Whether it has arrived; asking does not wait."""
        return self.arrived is None or self.arrived.query()

    def get(self) -> Tensor:
        """Return it on the host; waits until it has arrived."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.image


class HostCopies:
    """Starts copies of what slots make to the host. On a device that is the host they are there at once."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def start(self, image: Tensor) -> HostCopy:
        """Copy what the current stream has made of ``image`` so far."""
        if self._stream is None:
            return HostCopy(image, None)
        self._stream.wait_stream(torch.cuda.current_stream(image.device))
        target = torch.empty(image.shape, dtype=image.dtype, pin_memory=True)
        with torch.cuda.stream(self._stream):
            target.copy_(image, non_blocking=True)
            image.record_stream(self._stream)
            arrived = torch.cuda.Event()
            arrived.record(self._stream)
        return HostCopy(target, arrived)
