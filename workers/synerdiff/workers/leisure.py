"""Measuring a profile again while no job is there, a piece at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from synerdiff.engine.model import LoadedModel
from synerdiff.engine.profiler import Measuring, Served, keep, measuring_again
from synerdiff.policy import Profile
from synerdiff.protocol.errors import SynerDiffError
from synerdiff.telemetry import get_logger

log = get_logger(__name__)

FIRST_AFTER_S = 60.0
AGAIN_AFTER_S = 600.0


class Leisure:
    """Measures when asked to: not within a minute of the start, and not within ten of the last time, since on a busy
    machine every figure parts from every other. What is asked for sooner waits until then."""

    def __init__(self, model: LoadedModel, served: Served | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._model = model
        self._served = served
        self._clock = clock
        self._not_before = clock() + FIRST_AFTER_S
        self._wanted = False
        self._measuring: Measuring | None = None

    @property
    def busy(self) -> bool:
        """Whether there is something to measure now."""
        return self._measuring is not None or (self._wanted and self._clock() >= self._not_before)

    def ask(self, wanted: bool = True) -> None:
        """Measure once it is time, or (not ``wanted``) no more; what is under way goes on."""
        self._wanted = wanted and self._served is not None and self._measuring is None

    def work(self) -> Profile | None:
        """Measure one piece; the new profile once it is whole."""
        if self._served is None or not self.busy:
            return None
        if self._measuring is None:
            self._wanted, self._measuring = False, measuring_again(self._model, self._served)
        try:
            next(self._measuring)
            return None
        except StopIteration as end:
            self._served = replace(self._served, profile=end.value)
        except (SynerDiffError, RuntimeError, ValueError) as error:
            log.warning("profile not measured again", reason=str(error))
            self._end()
            return None
        self._end()
        keep(self._served)
        log.info("profile measured again", profile_id=self._served.profile.profile_id)
        return self._served.profile

    def _end(self) -> None:
        self._measuring, self._not_before = None, self._clock() + AGAIN_AFTER_S
