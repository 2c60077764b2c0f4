"""What holders of jobs tell the ledger, those of now and those of before: progress, latents, leases and ends."""

from __future__ import annotations

from functools import partial

import hypothesis.strategies as st
from hypothesis.stateful import rule

from synerdiff.protocol import ErrorInfo, JobEvent, JobResult, Receipt, Timings
from synerdiff.protocol.event import EventKind
from tests.ledger_machine import LEASE_S, ClaimMachine, latents, repeats, workers
from tests.ledger_model import FINAL

RESULT = JobResult(images=[], timings=Timings(), receipt=Receipt())
ERROR = ErrorInfo(code="engine_error", message="the device failed")

kinds: st.SearchStrategy[EventKind] = st.sampled_from(["step", "step", "step", "preview", "image"])
endings = st.sampled_from(["succeeded", "failed", "back", "crash", "aside", "proven"])


class HolderMachine(ClaimMachine):
    """Claimed jobs go on and end, by who may and by who may no more."""

    def holds(self, job_id: str, token: int) -> bool:
        job = self.model.jobs.get(job_id)
        return job is not None and (job.state, job.token) == ("running", token)

    def holding(self) -> list[tuple[str, str, int]]:
        """The grants in force; if there is none, a worker takes a job first."""
        held = [grant for grant in self.grants if self.holds(grant[0], grant[2])]
        if held:
            return held
        self.work("w0", 2)
        return [grant for grant in self.grants if self.holds(grant[0], grant[2])]

    @rule(data=st.data(), steps=st.integers(1, 20), repeat=repeats)
    def somebody_keeps_latents(self, data: st.DataObject, steps: int, repeat: bool) -> None:
        """A holder of now or of before, in any order."""
        if self.grants:
            job_id, _, token = data.draw(st.sampled_from(self.holding() or self.grants))
            if data.draw(st.integers(0, 3)) == 0:
                job_id, _, token = data.draw(st.sampled_from(self.grants))
            want = self.model.keep(job_id, token, steps)
            assert (
                self.twice(lambda: self.ledger.keep(job_id, token, steps, latents(steps, token), 1e6), repeat) == want
            )

    @rule(data=st.data(), steps=st.lists(st.integers(0, 20), min_size=1, max_size=3), kind=kinds, repeat=repeats)
    def somebody_tells_steps(self, data: st.DataObject, steps: list[int], kind: EventKind, repeat: bool) -> None:
        """A holder of now or of before, in any order; pictures are no reports of steps."""
        if self.grants:
            job_id, _, token = data.draw(st.sampled_from(self.holding() or self.grants))
            for step in steps:
                tell = partial(self.ledger.progress, job_id, token, JobEvent(kind=kind, step=step, steps=20))
                assert self.twice(tell, repeat) == self.model.progress(job_id, token, kind, step)

    @rule(worker=workers, repeat=repeats)
    def renew(self, worker: str, repeat: bool) -> None:
        self.renew_all(worker, repeat=repeat)

    def renew_all(self, worker: str, *, repeat: bool) -> None:
        mine = {job_id: token for job_id, holder, token in self.grants if holder == worker}
        now = self.clock.now
        want = {job_id: self.model.renew(job_id, token, worker, now, LEASE_S) for job_id, token in mine.items()}
        assert self.twice(lambda: self.ledger.renew(worker, mine, LEASE_S), repeat) == want

    @rule(data=st.data(), how=endings, repeat=repeats)
    def the_holder_ends_a_job(self, data: st.DataObject, how: str, repeat: bool) -> None:
        held = self.holding()
        if held:
            job_id, _, token = data.draw(st.sampled_from(held))
            self.end(job_id, token, how, repeat=repeat)

    @rule(data=st.data(), how=endings)
    def somebody_ends_it_too_late(self, data: st.DataObject, how: str) -> None:
        if self.grants:
            job_id, _, token = data.draw(st.sampled_from(self.grants))
            self.end(job_id, token, how, repeat=False)

    @rule(data=st.data(), how=endings, crashed=st.booleans())
    def a_job_changes_hands_and_the_old_holder_writes(self, data: st.DataObject, how: str, crashed: bool) -> None:
        held = self.holding()
        if held:
            job_id, _, token = data.draw(st.sampled_from(held))
            self.end(job_id, token, "crash" if crashed else "back", repeat=False)
            self.heartbeat("w2", "ready", 2)
            self.claim(job_id, "w2", repeat=False)
            self.end(job_id, token, how, repeat=False)

    def end(self, job_id: str, token: int, how: str, *, repeat: bool) -> None:
        step = len(self.grants) if repeat else None
        calls = {
            "succeeded": lambda: self.ledger.finish(job_id, token, RESULT),
            "failed": lambda: self.ledger.fail(job_id, token, ERROR),
            "back": lambda: self.ledger.hand_back(job_id, token, "shutdown"),
            "aside": lambda: self.ledger.hand_back(job_id, token, "a more urgent job waited", "aside"),
            "proven": lambda: self.ledger.hand_back(job_id, token, "it got past its trial", "proven"),
            "crash": lambda: self.ledger.hand_back(job_id, token, "the engine died", "crashed", step),
        }
        if how in FINAL:
            want = self.model.end(job_id, token, how, self.clock.now)
        else:
            want = self.model.hand_back(job_id, token, how, self.clock.now, step)
        answer = self.twice(calls[how], repeat)
        assert (answer.accepted, answer.state) == want
