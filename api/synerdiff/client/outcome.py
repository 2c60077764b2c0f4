"""What a finished record means to whoever waited for it."""

from __future__ import annotations

from synerdiff.protocol import JobState, JobView
from synerdiff.protocol.errors import JobCancelled, JobDead, JobEnded, JobExpired, JobFailed, WaitTimeout

_ENDED: dict[JobState, type[JobEnded]] = {
    JobState.FAILED: JobFailed,
    JobState.CANCELLED: JobCancelled,
    JobState.EXPIRED: JobExpired,
    JobState.DEAD: JobDead,
}


def succeeded(view: JobView) -> JobView:
    """The view itself, if its job succeeded; else raises the :class:`JobEnded` of its state."""
    kind = _ENDED.get(view.state)
    if kind is None:
        return view
    reason = f": {view.error.message}" if view.error else ""
    raise kind(f"job {view.id} {_VERB[view.state]}{reason}")


_VERB = {
    JobState.FAILED: "failed",
    JobState.CANCELLED: "was cancelled",
    JobState.EXPIRED: "was not done by its deadline",
    JobState.DEAD: "used up its attempts",
}


def timed_out(view: JobView, timeout_s: float) -> WaitTimeout:
    """The error of a wait that ended before its job did."""
    return WaitTimeout(f"job {view.id} is still {view.state.value} after {timeout_s:g} s; wait again or cancel it")
