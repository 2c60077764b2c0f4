"""Good manners of a long run: lowest priority, a pause file, and an orderly stop."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

POLL_S = 1.0
_PR_SET_PDEATHSIG = 1


def yield_to_others() -> None:
    """Take the lowest priority there is: nice 19, and SCHED_IDLE where the system has it."""
    os.nice(19)
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def quiet_libraries() -> None:
    """Keep diffusers' and transformers' notes on how they load and save out of a run's log."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for log in (diffusers_logging, transformers_logging):
        log.set_verbosity_error()
        log.disable_progress_bar()


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that started it ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def wait_while_paused(file: Path, stopping: Callable[[], bool] = lambda: False) -> None:
    """Sleep as long as ``file`` exists, unless ``stopping``; checked every second."""
    while file.exists() and not stopping():
        time.sleep(POLL_S)


def set_paused(file: Path, paused: bool) -> None:
    """Make or remove the pause file."""
    if paused:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    else:
        file.unlink(missing_ok=True)


def on_signals(stop: Callable[[], None], pause_file: Path) -> None:
    """SIGTERM and SIGINT call ``stop``; SIGUSR1 pauses, or goes on."""

    def stop_now(number: int, frame: FrameType | None) -> None:
        stop()

    def toggle(number: int, frame: FrameType | None) -> None:
        set_paused(pause_file, not pause_file.exists())

    signal.signal(signal.SIGTERM, stop_now)
    signal.signal(signal.SIGINT, stop_now)
    signal.signal(signal.SIGUSR1, toggle)


def leave_signals_to_parent() -> None:
    """A child of the run ignores what the whole process group gets; its parent tells it what to do."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
