"""Reports of steps: many jobs in one call, first and last at once, none after a job's end."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from synerdiff.protocol import Job
from synerdiff.workers.reports import Report, StepReports
from synerdiff.workers.runs import Moved, Run
from tests.support import wait_until

HOUR_S = 3600.0


def run_of(name: str) -> Run:
    return Run(Job(id=name, model="fake", prompt="cat", steps=9), token=1)


class Told:
    """What was told, a list for each call; with ``hold``, a call waits until ``go`` is set."""

    def __init__(self, *, hold: bool = False) -> None:
        self.calls: list[list[str]] = []
        self.go = threading.Event()
        self.fails = False
        if not hold:
            self.go.set()

    def __call__(self, reports: Sequence[Report]) -> None:
        self.calls.append([f"{report.run.id}{report.step}" for report in reports])
        assert self.go.wait(30)
        if self.fails:
            raise ValueError("not told")

    @property
    def all(self) -> list[str]:
        return [each for call in self.calls for each in call]


@contextmanager
def reporting(told: Told, news_s: float) -> Iterator[StepReports]:
    reports = StepReports(told, news_s)
    reports.start()
    try:
        yield reports
    finally:
        told.go.set()
        reports.stop()


def test_first_and_last_steps_are_told_at_once_and_those_between_wait() -> None:
    told = Told()
    a, b = run_of("a"), run_of("b")
    with reporting(told, HOUR_S) as reports:
        reports.note(a, 1, 9)
        wait_until(lambda: "a1" in told.all, what="the first step")
        reports.note(b, 4, 9)  # it goes on from a checkpoint: the first that is told of this run
        wait_until(lambda: "b4" in told.all, what="another job's first step")
        reports.note(b, 5, 9)
        reports.note(a, 9, 9)
        wait_until(lambda: "a9" in told.all, what="the last step")
        assert told.all == ["a1", "b4", "a9"]
        assert [event.step for event in reports.take(b)] == [5]
        assert reports.take(b) == []


def test_what_comes_while_a_call_is_under_way_goes_out_in_the_next_one() -> None:
    told = Told(hold=True)
    runs = [run_of(name) for name in "abcd"]
    with reporting(told, 0.001) as reports:
        reports.note(runs[0], 3, 9)
        wait_until(lambda: told.calls, what="the first call")
        for run in runs:
            for step in (4, 5, 6):
                reports.note(run, step, 9)
        told.go.set()
        wait_until(lambda: len(told.all) == 5, what="the others")
    assert told.calls == [["a3"], ["a6", "b6", "c6", "d6"]]


def test_without_a_pause_every_step_is_told_in_order() -> None:
    told = Told()
    run = run_of("a")
    with reporting(told, 0.0) as reports:
        for step in range(1, 10):
            reports.note(run, step, 9)
        wait_until(lambda: len(told.all) == 9, what="all steps")
    assert told.all == [f"a{step}" for step in range(1, 10)]


def test_nothing_is_told_of_a_run_once_it_is_closed() -> None:
    told = Told(hold=True)
    run, other = run_of("a"), run_of("b")
    with reporting(told, 0.0) as reports:
        reports.note(run, 1, 9)
        wait_until(lambda: told.calls, what="a call")
        reports.note(run, 2, 9)
        closing = threading.Thread(target=reports.close, args=(run,))
        closing.start()
        wait_until(run.over.is_set, what="the end")
        assert closing.is_alive()  # what is being told comes before the end
        reports.note(run, 3, 9)
        told.go.set()
        closing.join(30)
        seen = list(told.all)
        reports.note(run, 4, 9)
        reports.note(other, 5, 9)
        wait_until(lambda: "b5" in told.all, what="another job's step")
    assert [each for each in told.all if each.startswith("a")] == [each for each in seen if each.startswith("a")]
    assert not {"a3", "a4"} & set(told.all)


@pytest.mark.filterwarnings("error")
def test_reports_outlive_a_call_that_fails() -> None:
    told = Told()
    told.fails = True
    run = run_of("a")
    with reporting(told, 0.0) as reports:
        reports.note(run, 1, 9)
        wait_until(lambda: told.calls, what="the failing call")
        reports.note(run, 2, 9)
        wait_until(lambda: told.all == ["a1", "a2"], what="the next one")


def test_a_job_on_trial_hears_of_each_step_and_others_do_not() -> None:
    suspect, other = run_of("a"), run_of("b")
    suspect.trial = 3
    with reporting(Told(), HOUR_S) as reports:
        reports.note(other, 4, 9)
        reports.note(suspect, 4, 9)
        heard = suspect.news.get_nowait()
        assert isinstance(heard, Moved)
        assert (heard.step, heard.steps) == (4, 9)
    assert other.news.empty()


def test_reports_of_one_job_keep_their_distance() -> None:
    told = Told()
    run, other = run_of("a"), run_of("b")
    with reporting(told, HOUR_S) as reports:
        reports.note(run, 1, 9)
        wait_until(lambda: "a1" in told.all, what="the first step")
        reports.note(run, 2, 9)
        reports._told_at -= HOUR_S  # time for all
        reports.note(other, 1, 9)
        wait_until(lambda: "b1" in told.all, what="another job's first step")
        assert "a2" not in told.all
