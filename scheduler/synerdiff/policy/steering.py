"""One tick of steering: from the load to the plan. The scheduler service and the simulator run this same code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from synerdiff.policy.allowance import SkipFrom, idle_threshold, skip_threshold
from synerdiff.policy.controller import ControllerConfig, ControllerState, theta_in, update
from synerdiff.policy.errors import PolicyError
from synerdiff.policy.plan import check_theta
from synerdiff.policy.planner import Ratings

ThetaMode = float | Literal["profile", "auto", "controller", "queue"]
MODES = ("profile", "auto", "controller", "queue")
GIVEN_UP = 0.01
"""Share of the sustainable rate that ``theta: auto`` may give up before the controller is the better default."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a pool has to do (``open_steps``: denoising steps of one image, of all open jobs) and with how much."""

    waiting_jobs: int
    running_jobs: int
    open_steps: float
    open_images: float
    devices: int

    @property
    def jobs_per_device(self) -> float:
        """Jobs in the system, waiting or running, for each device."""
        return (self.waiting_jobs + self.running_jobs) / max(self.devices, 1)


@dataclass(frozen=True, slots=True)
class Target:
    """What the planner is asked for: ``theta`` (``None``: auto) and the skip threshold."""

    theta: float | None
    skip_above: int


def outstanding_jobs(load: Load, ratings: Ratings) -> float:
    """Seconds of work each device has left, in lone jobs; a running job counts for half of what it was."""
    total = load.waiting_jobs + load.running_jobs
    if not total:
        return 0.0
    left = (load.waiting_jobs + load.running_jobs / 2) / total
    seconds = load.open_steps * ratings.step_s + load.open_images * ratings.cost.decode_s
    return seconds * left / max(load.devices, 1) / ratings.lone_job_s


def check_mode(mode: ThetaMode) -> ThetaMode:
    """Refuse what is neither a threshold in (0, 1] nor a mode's name."""
    if isinstance(mode, float | int):
        check_theta(mode)
    elif mode not in MODES:
        raise PolicyError("theta", f"must be a number in (0, 1], {', '.join(MODES[:-1])} or queue; got {mode!r:.40}")
    return mode


def default_mode(ratings: Ratings) -> Literal["auto", "controller"]:
    """What wins for a profile: ``auto`` where its price sustains all but a percent of the band's top, for then it is
    simpler and as good; else the controller, which reaches the top under load (docs/algorithm.md, "Choosing theta")."""
    return "auto" if ratings.curve.auto >= ratings.curve.band[1] - GIVEN_UP else "controller"


class Steering:
    """The controller for one pool and profile, with what it remembers between ticks.

    ``mode``: ``profile`` is :func:`default_mode`; ``controller`` moves theta inside its band; ``auto`` prices each
    slot by the jobs it delays; a number holds theta; ``queue`` is the plain rule it is compared with (the band's top
    as soon as a job waits). The skip threshold is the controller's in every mode; ``skip_from``
    says where it starts (:mod:`synerdiff.policy.allowance`).
    """

    def __init__(
        self,
        ratings: Ratings,
        mode: ThetaMode = "profile",
        config: ControllerConfig | None = None,
        skip_from: SkipFrom = "start",
    ) -> None:
        self.ratings = ratings
        self.idle_threshold = idle_threshold(ratings.cost, ratings.batch_cap, skip_from)
        self.mode = default_mode(ratings) if check_mode(mode) == "profile" else mode
        self.config = config or ControllerConfig()
        self.state = ControllerState()

    def tick(self, load: Load, elapsed_s: float) -> Target:
        """Take in the load, ``elapsed_s`` seconds after the last tick, and say what to plan for."""
        self.state = update(self.state, outstanding_jobs(load, self.ratings), elapsed_s, self.config)
        return self.target(load)

    def target(self, load: Load) -> Target:
        """What the present state asks for."""
        return Target(self._theta(load), skip_threshold(self.idle_threshold, self.state.y))

    def _theta(self, load: Load) -> float | None:
        band = self.ratings.curve.band
        if self.mode == "auto":
            return None
        if self.mode == "controller":
            return theta_in(band, self.state.y)
        if self.mode == "queue":
            return band[1] if load.waiting_jobs else band[0]
        return float(self.mode)
