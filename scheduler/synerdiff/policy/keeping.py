"""How often a job's latents are worth keeping."""

from __future__ import annotations

import math

SHARE = 0.01  # of the device's time that keeping latents may cost


def keep_interval(step_s: float, keep_s: float, active: int, loss_s: float) -> int:
    """Denoising steps between two latent checkpoints of one job.

    ``step_s`` is the time between two steps of a job, ``active`` the images in step beside each other, ``keep_s``
    what one checkpoint costs. Every job pays for its own: ``active`` of them in an interval may cost ``SHARE`` of
    it. What takes less than ``loss_s`` to make again is not worth keeping, whatever it costs.
    """
    return max(1, math.ceil(max(loss_s, keep_s * active / SHARE) / step_s))
