"""The bridge to the engine process: routing, crashes, hangs, and no process left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from synerdiff.engine.types import Request
from synerdiff.protocol import Job
from synerdiff.protocol.errors import EngineError, ModelError
from synerdiff.workers import process
from synerdiff.workers.bridge import Bridge, BridgeConfig
from synerdiff.workers.messages import Command, EngineSpec, Profiled, SetPlan
from synerdiff.workers.runs import EngineLost, Failed, Imaged, News, Run
from tests.support import wait_until
from tests.worker_fakes import FACTORY


class Watcher:
    """What the worker around a bridge is told."""

    def __init__(self) -> None:
        self.changes: list[bool] = []
        self.failing: list[str] = []
        self.steps: dict[Run, list[int]] = {}

    def stepped(self, run: Run, step: int, steps: int) -> None:
        """A job has stepped."""
        self.steps.setdefault(run, []).append(step)


@contextmanager
def running(watcher: Watcher | None = None, *, model: str = "fake", hang_s: float = 30.0) -> Iterator[Bridge]:
    watcher = watcher or Watcher()
    bridge = Bridge(
        EngineSpec(model=model, factory=FACTORY, log_level="ERROR"),
        BridgeConfig(hang_s=hang_s),
        on_change=watcher.changes.append,
        on_failing=watcher.failing.append,
        on_step=watcher.stepped,
    )
    try:
        bridge.start()
        yield bridge
    finally:
        bridge.stop()


def submit(bridge: Bridge, prompt: str, *, n: int = 1, steps: int = 4, alone: bool = False) -> Run:
    job = Job(model="fake", prompt=prompt, n=n, steps=steps, width=64, height=64, seed=7)
    run = Run(job, token=1, alone=alone)
    request = Request(job.id, prompt, "", 64, 64, steps, 5.0, "ddim", 7, n, "exact")
    wait_until(lambda: bridge.pid, what="the engine")
    bridge.admit(run, request)
    return run


def until(run: Run, kind: type[News]) -> list[News]:
    """The run's news up to the first of ``kind``."""
    seen: list[News] = []
    while not seen or not isinstance(seen[-1], kind):
        seen.append(run.news.get(timeout=30))
    return seen


def test_a_job_moves_and_ends_with_all_its_images() -> None:
    watcher = Watcher()
    with running(watcher) as bridge:
        run = submit(bridge, "cat", n=3)
        first = until(run, Imaged)
        images = [
            news.image
            for news in [first[-1], run.news.get(timeout=5), run.news.get(timeout=5)]
            if isinstance(news, Imaged)
        ]
    assert watcher.steps[run] == [1, 2, 3, 4]
    assert [image.index for image in images] == [0, 1, 2]
    assert images[2].pixels.shape == (64, 64, 3)
    assert (images[2].pixels == 9).all()


def test_a_cancelled_job_is_heard_of_no_more() -> None:
    watcher = Watcher()
    with running(watcher) as bridge:
        run = submit(bridge, "cat", steps=100_000)
        wait_until(lambda: run in watcher.steps, what="a step")
        bridge.cancel(run)
        other = submit(bridge, "dog")
        until(other, Imaged)
        assert len(bridge._router) == 0


def test_a_job_that_comes_again_is_begun_again_and_its_first_run_cannot_drop_it() -> None:
    watcher = Watcher()
    with running(watcher) as bridge:
        first = submit(bridge, "cat", steps=100_000)
        wait_until(lambda: first in watcher.steps, what="a step")
        again = Run(first.job, token=2)
        bridge.admit(again, Request(first.id, "cat", "", 64, 64, 4, 5.0, "ddim", 7, 1, "exact"))
        bridge.part(first)
        bridge.cancel(first)
        until(again, Imaged)
        assert watcher.steps[again][-3:] == [2, 3, 4]
        assert len(bridge._router) == 0


def test_a_job_that_fails_takes_no_neighbour_with_it() -> None:
    with running() as bridge:
        neighbour, run = submit(bridge, "cat", steps=20), submit(bridge, "fails")
        failed = until(run, Failed)[-1]
        assert isinstance(failed, Failed)
        assert failed.error.code == "non_finite_image"
        assert isinstance(until(neighbour, Imaged)[-1], Imaged)


@pytest.mark.parametrize("fault", ["segfault", "memory", "exit", "interrupt"])
def test_a_crash_is_told_and_the_engine_comes_back(fault: str) -> None:
    watcher = Watcher()
    with running(watcher) as bridge:
        before = bridge.pid
        run, neighbour = submit(bridge, fault), submit(bridge, "cat", steps=100_000)
        assert isinstance(until(run, EngineLost)[-1], EngineLost)
        assert isinstance(until(neighbour, EngineLost)[-1], EngineLost)
        again = submit(bridge, "cat")
        assert isinstance(until(again, Imaged)[-1], Imaged)
        assert bridge.pid != before
    assert watcher.changes[:3] == [True, False, True]


def test_a_hung_engine_is_ended_and_started_again() -> None:
    with running(hang_s=1.0) as bridge:
        before = bridge.pid
        lost = until(submit(bridge, "hang"), EngineLost)[-1]
        assert isinstance(lost, EngineLost)
        assert "silent" in lost.reason
        assert isinstance(until(submit(bridge, "cat"), Imaged)[-1], Imaged)
        assert not psutil.pid_exists(before or 0)


def test_an_engine_that_stops_in_the_middle_of_a_message_is_ended() -> None:
    with running(hang_s=1.5) as bridge:
        lost = until(submit(bridge, "half"), EngineLost)[-1]
        assert isinstance(lost, EngineLost)
        assert "middle of a message" in lost.reason
        assert isinstance(until(submit(bridge, "cat"), Imaged)[-1], Imaged)


def test_the_first_byte_of_a_message_is_a_sign_of_life() -> None:
    begun: list[bool] = []
    engine = process.EngineProcess(EngineSpec(model="fake", factory=FACTORY, log_level="CRITICAL"), hang_s=1.5)
    try:
        assert engine.receive(0.0, lambda: begun.append(True)) is None
        assert begun == []
        wait_until(lambda: engine.receive(0.25, lambda: begun.append(True)), what="the engine to be ready")
        assert begun == [True]
    finally:
        engine.kill()


def test_an_engine_process_that_does_not_end_has_its_device_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    watcher = Watcher()
    monkeypatch.setattr(process, "KILL_WAIT_S", 0.2)
    with running(watcher, hang_s=1.0) as bridge:
        pid = bridge.pid or 0
        with monkeypatch.context() as patched:
            patched.setattr(subprocess.Popen, "kill", lambda _: None)  # as one that waits for its driver ignores it
            lost = until(submit(bridge, "hang"), EngineLost)[-1]
            assert isinstance(lost, EngineLost)
            assert "silent" in lost.reason
            assert "does not end" in lost.reason
            [sentence] = wait_until(lambda: watcher.failing, what="the bridge to give up")
            assert "memory" in sentence
        assert watcher.changes == [True, False]
        os.kill(pid, signal.SIGKILL)
        undead = bridge._undead
        assert undead is not None
        wait_until(lambda: not undead.alive, what="the process to end")


def test_the_bridge_survives_an_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with running() as bridge:
        with monkeypatch.context() as patched:
            patched.setattr(bridge._router, "route", lambda event: 1 / 0)
            lost = until(submit(bridge, "cat"), EngineLost)[-1]
        assert isinstance(lost, EngineLost)
        assert "ZeroDivisionError" in lost.reason
        assert isinstance(until(submit(bridge, "cat"), Imaged)[-1], Imaged)


def test_a_process_that_goes_as_it_becomes_ready_is_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = [1]
    send = process.EngineProcess.send

    def refuse_once(self: process.EngineProcess, command: Command) -> None:
        if isinstance(command, SetPlan) and refusals:
            refusals.pop()
            raise EngineError("the engine process is gone")
        send(self, command)

    with running() as bridge:
        monkeypatch.setattr(process.EngineProcess, "send", refuse_once)
        bridge._plan = SetPlan({"version": "1"}, "")
        until(submit(bridge, "segfault"), EngineLost)
        assert isinstance(until(submit(bridge, "cat"), Imaged)[-1], Imaged)
    assert refusals == []


def test_a_plan_that_comes_while_an_engine_becomes_ready_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    send = process.EngineProcess.send

    def set_another_plan(self: process.EngineProcess, command: Command) -> None:
        send(self, command)
        if isinstance(command, SetPlan):
            sent.append(command.head["version"])
            if sent == ["1"]:
                bridge.set_plan(SetPlan({"version": "2"}, ""))

    with running() as bridge:
        bridge._plan = SetPlan({"version": "1"}, "")
        monkeypatch.setattr(process.EngineProcess, "send", set_another_plan)
        until(submit(bridge, "segfault"), EngineLost)
        assert isinstance(until(submit(bridge, "cat"), Imaged)[-1], Imaged)
    assert sent == ["1", "2"]


def test_a_device_that_fails_again_and_again_is_given_up() -> None:
    watcher = Watcher()
    with running(watcher) as bridge:
        for _ in range(3):
            until(submit(bridge, "segfault"), EngineLost)
        sentence = wait_until(lambda: watcher.failing, what="the bridge to give up")[0]
        assert "3 times" in sentence
        with pytest.raises(EngineError):
            bridge.admit(
                Run(Job(model="fake", prompt="x"), token=1), Request("x", "", "", 64, 64, 1, 1.0, "ddim", 0, 1, "exact")
            )


def test_a_poison_job_that_runs_alone_does_not_give_the_device_up() -> None:
    watcher = Watcher()
    with running(watcher) as bridge:
        until(submit(bridge, "segfault"), EngineLost)
        poison = Job(id="poison", model="fake", prompt="segfault")
        for _ in range(3):
            run = Run(poison, token=1, alone=True)
            wait_until(lambda: bridge.pid, what="the engine")
            bridge.admit(run, Request("poison", "segfault", "", 64, 64, 4, 5.0, "ddim", 7, 1, "exact"))
            until(run, EngineLost)
        until(submit(bridge, "cat"), Imaged)
    assert watcher.failing == []


@pytest.mark.parametrize(("model", "words"), [("missing", "model_path /nowhere"), ("crashes", "exit code 3")])
def test_a_model_that_cannot_load_is_one_sentence(model: str, words: str) -> None:
    with pytest.raises(ModelError, match=words), running(model=model):
        pass


def test_a_plan_that_cannot_be_used_does_not_stop_the_engine() -> None:
    with running() as bridge:
        bridge.set_plan(SetPlan({"version": "bad"}, ""))
        bridge.set_plan(SetPlan({"version": "2"}, ""))
        assert isinstance(until(submit(bridge, "cat"), Imaged)[-1], Imaged)


def test_a_new_profile_is_measured_between_jobs_and_heard_of() -> None:
    with running() as bridge:
        bridge.set_plan(SetPlan({"version": "1", "reprofile": "1"}, ""))
        assert isinstance(until(submit(bridge, "cat"), Imaged)[-1], Imaged)
        wait_until(lambda: bridge.profile == Profiled("fake", "measured again"), what="the new profile")
        assert isinstance(until(submit(bridge, "dog"), Imaged)[-1], Imaged)


PARENT = """
    import time
    from synerdiff.telemetry import configure_logging
    from synerdiff.workers.bridge import Bridge, BridgeConfig
    from synerdiff.workers.messages import EngineSpec
    configure_logging("ERROR")
    spec = EngineSpec(model="fake", factory="tests.worker_fakes:build", log_level="ERROR")
    bridge = Bridge(spec, BridgeConfig(), on_change=lambda up: None, on_failing=lambda why: None)
    bridge.start()
    print(bridge.pid, flush=True)
    time.sleep(300)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_engine_process_does_not_survive_its_parent(number: signal.Signals) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", textwrap.dedent(PARENT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root, env={**os.environ}) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(number)
        wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, what="the child to end")


def test_many_threads_may_end_one_process() -> None:
    ended = process.EngineProcess(EngineSpec(model="fake", factory=FACTORY, log_level="CRITICAL"))
    with ThreadPoolExecutor(16) as pool:
        ends = list(pool.map(lambda _: ended.kill(), range(16)))
    assert set(ends) == {"ended by SIGKILL"}
    assert not ended.alive
