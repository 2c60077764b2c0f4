"""What a run came to: the same figures that the bench reports."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of ``values`` lie, interpolated; NaN of none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    at = share * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def summary(values: Sequence[float]) -> dict[str, float]:
    """Mean, median and 99th percentile, in the values' unit."""
    mean = math.fsum(values) / len(values) if values else math.nan
    return {"mean": mean, "p50": percentile(values, 0.5), "p99": percentile(values, 0.99)}


@dataclass(slots=True)
class Outcome:
    """Figures of one policy on one trace, in virtual seconds.

    ``e2e_s[i]`` is job ``i``'s latency; ``vae_s`` has an entry an image: end of its last UNet step to its pixels.
    ``back_to_back_s`` is the time of the same UNet calls and decodes one after another, ``busy_s`` what the devices
    spent. ``control`` holds (time, y, theta) of each tick.
    """

    policy: str
    e2e_s: list[float]
    finished_at: list[float]
    vae_s: list[float] = field(default_factory=list)
    images: int = 0
    span_s: float = 0.0
    busy_s: float = 0.0
    back_to_back_s: float = 0.0
    rows_run: int = 0
    rows_skipped: int = 0
    unet_calls: int = 0
    control: list[tuple[float, float, float | None]] = field(default_factory=list)
    tuned: dict[str, float] = field(default_factory=dict)

    @property
    def images_per_s(self) -> float:
        """Images over the time from the first arrival to the last image."""
        return self.images / self.span_s if self.span_s else math.nan

    def row(self) -> dict[str, Any]:
        """The policy's entry in the JSON output; ``ssim`` needs real images, so it is null here."""
        return {
            "policy": self.policy,
            "images_per_s": self.images_per_s,
            "e2e_s": summary(self.e2e_s),
            "vae_s": summary(self.vae_s),
            "rows_run": self.rows_run,
            "rows_skipped": self.rows_skipped,
            "cpu_s_per_image": self.busy_s / self.images,
            "mean_rows_per_call": self.rows_run / self.unet_calls if self.unet_calls else 0.0,
            "ceiling_share": self.back_to_back_s / self.busy_s if self.busy_s else math.nan,
            "ssim": None,
            **({"tuned": self.tuned} if self.tuned else {}),
        }
