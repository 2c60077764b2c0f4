"""The batch cap: how many samples a UNet call may hold."""

from __future__ import annotations

import numpy as np

from synerdiff.policy.cost import CostModel

SHARE = 0.96


def batch_cap(cost: CostModel, *, most: int = 64) -> int:
    """The smallest number of samples with at least 96% of the best rows a second that was measured.

    More samples than that only wait for each other. Never more rows than the profile measured or its memory holds.
    """
    profile = cost.profile
    rows = min(profile.max_rows or profile.rows[-1], profile.rows[-1])
    samples = np.arange(1, max(1, min(most, rows // profile.rows_per_sample)) + 1)
    rate = samples / cost.unet_of(samples)
    return int(samples[np.flatnonzero(rate >= SHARE * rate.max())[0]])
