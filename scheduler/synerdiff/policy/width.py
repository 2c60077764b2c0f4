"""How many samples fill a UNet call: the batch cap counts full steps, and samples that skip leave room for others."""

from __future__ import annotations

_PACE = 0.1


class Width:
    """Follows the share of its rows that a batch really runs; the engine and the simulator keep one each.

    The batch cap is where more rows stop making rows cheaper. With a third of the rows skipped, half as many samples
    again fill the same call.
    """

    def __init__(self) -> None:
        self._share = 1.0

    def ran(self, rows: int, full: int) -> None:
        """Take in a UNet call of ``rows`` rows by samples whose full steps take ``full``."""
        if full:
            self._share += _PACE * (rows / full - self._share)

    def samples(self, batch_cap: int) -> int:
        """The samples that run as many rows as ``batch_cap`` full steps."""
        return max(batch_cap, round(batch_cap / self._share))
