"""One hint from claim to end, against a ledger and an engine that say what the test wants."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from synerdiff.engine.types import (
    Previewed,
    SetAside,
    Snapshot,
    Stepped,
)
from synerdiff.ledger import Claim, Refused, Renewal
from synerdiff.protocol import ErrorInfo
from synerdiff.protocol.errors import EngineError
from synerdiff.workers import runner
from synerdiff.workers.router import Router
from synerdiff.workers.runner import Outcome
from synerdiff.workers.runs import EngineLost, Failed, GiveBack, Imaged, Moved, Phase, Revoked, Run
from synerdiff.workers.uploads import Uploads
from tests.runner_bench import CLAIM, HELD, JOB, Bench, FakeLedger, FakeStore, image
from tests.support import wait_until


def test_a_job_ends_with_its_image_and_the_next_hint() -> None:
    bench = Bench(lambda run: run.tell(Imaged(image())))
    outcome = bench.follow()
    [(verb, _, token, result)] = bench.ledger.ends
    assert (outcome.state, verb, token, bench.sent) == ("succeeded", "finish", 5, ["next"])
    assert result.images[0].key == "images/job/0.png"
    assert result.timings.queued == pytest.approx(0.5)
    assert len(bench.leases) == 0


def test_an_image_waits_for_a_store_that_is_away_and_the_end_for_a_ledger_that_is() -> None:
    bench = Bench(lambda run: run.tell(Imaged(image())), FakeLedger(away=2), FakeStore(refuses=2))
    assert bench.follow().state == "succeeded"
    assert bench.store.keys == ["images/job/0.png"]


def test_a_job_goes_on_from_what_was_kept_and_keeps_what_the_engine_offers() -> None:
    def offer(run: Run) -> None:
        for steps in (4, 8):  # two before the run looks: the newer one outdoes the other
            run.offer(Snapshot("job", steps, b"latents"))
        run.tell(Imaged(image()))

    bench = Bench(offer, FakeLedger(replace(CLAIM, kept=6, level=7)))
    bench.ledger.latents = b"before"
    assert bench.follow().state == "succeeded"
    _, request, kept = bench.bridge.admitted
    assert (request.priority, kept) == (7, b"before")
    assert bench.ledger.snapshots == [(5, 8, b"latents")]


def test_after_a_crash_alone_a_job_starts_over() -> None:
    bench = Bench(lambda run: run.tell(Imaged(image())), FakeLedger(replace(CLAIM, kept=6, attempts=1)))
    bench.ledger.latents = b"poison"
    assert bench.follow().state == "succeeded"
    assert bench.bridge.admitted[2] is None


def test_a_job_that_is_given_back_takes_its_latents_along() -> None:
    bench = Bench(lambda run: run.tell(GiveBack("leaving")))
    assert bench.follow().state == "handed_back"
    assert bench.bridge.parted == ["job"]
    assert bench.ledger.snapshots == [(5, 3, b"latents")]


def test_a_job_that_uploads_does_not_make_way() -> None:
    def upload(run: Run) -> None:
        run.moved(Phase.UPLOADING)
        run.tell(GiveBack("urgent", how="aside"))
        run.tell(Imaged(image()))

    assert Bench(upload).follow().state == "succeeded"


def test_latents_that_cannot_be_kept_are_only_a_longer_rerun() -> None:
    def offer(run: Run) -> None:
        bench.ledger.away = 1
        run.offer(Snapshot("job", 4, b"latents"))
        run.tell(Imaged(image()))

    bench = Bench(offer)
    assert bench.follow().state == "succeeded"
    assert bench.ledger.snapshots == []


def test_a_late_result_changes_nothing() -> None:
    bench = Bench(lambda run: run.tell(Imaged(image())), FakeLedger(accepts=False))
    assert bench.follow().state == "lost"


@pytest.mark.parametrize(
    ("news", "state", "ends"),
    [
        (Failed(ErrorInfo(code="x", message="broken")), "failed", [("fail", "job", 5, "broken")]),
        (EngineLost("ended by SIGSEGV"), "crashed", [("crashed", "job", 5, "ended by SIGSEGV")]),
        (GiveBack("leaving"), "handed_back", [("hand_back", "job", 5, "leaving")]),
        (GiveBack("leaving", at_once=True), "handed_back", [("hand_back", "job", 5, "leaving")]),
        (GiveBack("urgent", how="aside"), "set_aside", [("aside", "job", 5, "urgent")]),
        (Revoked("cancelled"), "cancelled", []),
        (Revoked("lost"), "lost", []),
    ],
)
def test_each_kind_of_news_has_its_end(news: Any, state: str, ends: list[Any]) -> None:
    bench = Bench(lambda run: run.tell(news))
    assert bench.follow().state == state
    assert bench.ledger.ends == ends
    assert bench.bridge.cancelled == ["job"]


def test_a_crash_is_told_with_the_step_that_was_done() -> None:
    def step_and_crash(run: Run) -> None:
        run.step = 7
        run.tell(EngineLost("SIGSEGV"))

    bench = Bench(step_and_crash)
    assert bench.follow().state == "crashed"
    assert bench.ledger.steps == [7]


@pytest.mark.parametrize("error", [MemoryError, SystemExit, KeyboardInterrupt, RuntimeError])
def test_no_error_leaks_the_slot_or_the_job(error: type[BaseException]) -> None:
    def fail(run: Run) -> None:
        raise error

    bench = Bench(fail)
    outcome = bench.follow()
    assert (outcome.state, outcome.reason) == ("failed", f"the worker failed: {error.__name__}")
    assert bench.ledger.ends[0][0] == "fail"
    assert bench.gate.wait_empty(1)
    assert len(bench.leases) == 0


def test_a_job_that_meets_no_engine_goes_back_unharmed() -> None:
    def gone(run: Run) -> None:
        raise EngineError("gone")

    bench = Bench(gone)
    assert bench.follow().state == "handed_back"


@pytest.mark.parametrize(
    ("change", "words"),
    [({"steps": 151}, "steps must be at most 150; got 151"), ({"model": "other"}, "model must be m")],
)
def test_a_record_is_validated_again(change: dict[str, Any], words: str) -> None:
    bench = Bench(lambda run: None, FakeLedger(Claim(JOB.model_copy(update=change), 5, 0, False, 0.0, 0.0)))
    outcome = bench.follow()
    assert outcome.error is not None
    assert words in outcome.error.message


def test_a_refused_hint_is_left_at_once() -> None:
    bench = Bench(lambda run: None, FakeLedger(Refused("claimed", ("other",))))
    assert (bench.follow(), bench.sent) == (Outcome("refused", "claimed"), ["other"])


def test_a_quarantined_job_is_claimed_again_once_the_worker_is_empty() -> None:
    bench = Bench(lambda run: run.tell(Imaged(image())), FakeLedger(Refused("drain"), CLAIM))
    assert bench.follow().state == "succeeded"


def test_jobs_make_room_with_their_latents_for_one_that_must_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "DRAIN_S", 0.0)
    bench = Bench(lambda run: run.tell(Imaged(image())), FakeLedger(Refused("drain"), Refused("drain"), CLAIM))
    works, uploads = (Run(JOB.model_copy(update={"id": name}), 5, phase=phase) for name, phase in HELD)
    left = ExitStack()
    with bench.leases.holding(uploads):
        left.enter_context(bench.leases.holding(works))
        following = threading.Thread(target=bench.follow)
        following.start()
        assert works.news.get(timeout=10) == GiveBack("a job had to run alone")
        left.close()
        following.join(10)
        assert not following.is_alive()
        assert uploads.news.empty(), "what is being stored ends by itself"
    assert bench.ledger.ends[0][0] == "finish"


def _reports(steps: list[int]) -> Callable[[Run], None]:
    def step(run: Run) -> None:
        for each in steps:
            run.tell(Moved(each, 20, 0.1 * each))
        if steps[-1] == 20:
            run.tell(Imaged(image()))

    return step


def test_a_suspect_that_got_past_its_crash_goes_on_in_company() -> None:
    bench = Bench(_reports([4, 5, 6, 9]), FakeLedger(replace(CLAIM, alone=True, kept=3, trial=5)))
    bench.ledger.latents = b"before"
    assert bench.follow().state == "handed_back"
    assert bench.ledger.ends == [("proven", "job", 5, "alone it got past where it was in the crash")]
    assert bench.ledger.snapshots == [(5, 3, b"latents")]


@pytest.mark.parametrize(
    ("news_s", "clear", "end"),
    [
        (0.45, None, "proven"),
        (0.55, None, "crashed"),
        (60.0, 11, "proven"),
        (60.0, 12, "crashed"),
        (0.45, 12, "proven"),
    ],
)
def test_a_trial_lasts_as_long_or_as_many_steps_past_the_crash_as_a_report_may_lag(
    news_s: float, clear: int | None, end: str
) -> None:
    claim = replace(CLAIM, alone=True, trial=5, clear=clear)
    bench = Bench(_reports([6, 7, 11]), FakeLedger(claim), news_s=news_s)
    bench.bridge.hands_out = Snapshot("job", 11, b"latents")
    following = threading.Thread(target=bench.follow, daemon=True)
    following.start()
    if end == "crashed":
        wait_until(lambda: bench.bridge.admitted and bench.bridge.admitted[0].news.empty(), what="the steps' hearing")
        bench.bridge.admitted[0].tell(EngineLost("the end"))
    following.join(30)
    assert [each[0] for each in bench.ledger.ends] == [end]


def test_a_job_whose_images_were_made_as_it_was_to_leave_ends_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "PART_S", 0.01)

    def step_and_end(run: Run) -> None:
        _reports([6, 7])(run)
        run.tell(Imaged(image()))

    bench = Bench(step_and_end, FakeLedger(replace(CLAIM, alone=True, trial=5)), FakeStore(refuses=2))
    bench.bridge.made, bench.bridge.hands_out = True, None
    assert bench.follow().state == "succeeded"


@pytest.mark.parametrize("orders", [1, 2])
@pytest.mark.parametrize(
    ("verdict", "end"),
    [(EngineLost("SIGSEGV"), "crashed"), (Failed(ErrorInfo(code="x", message="broken")), "fail"), (None, "hand_back")],
)
def test_a_job_that_is_to_leave_ends_as_the_engine_has_said_already(
    monkeypatch: pytest.MonkeyPatch, verdict: Any, end: str, orders: int
) -> None:
    monkeypatch.setattr(runner, "PART_S", 0.01)

    def leave_and_end(run: Run) -> None:
        for news in [GiveBack("the worker is leaving")] * orders + ([verdict] if verdict else []):
            run.tell(news)

    bench = Bench(leave_and_end)
    bench.bridge.made, bench.bridge.hands_out = True, None  # the router has dropped the run
    bench.follow()
    assert [each[0] for each in bench.ledger.ends] == [end]


@pytest.mark.parametrize(
    ("behind", "pid", "end"),
    [
        ([EngineLost("SIGSEGV")], 1, "crashed"),
        ([Moved(6, 20, 0.1), EngineLost("SIGSEGV")], 1, "crashed"),
        ([], None, "crashed"),  # the bridge saw the engine's end, and has not told yet
        ([], 1, "hand_back"),
        ([Failed(ErrorInfo(code="x", message="broken"))], 1, "hand_back"),
    ],
)
def test_a_crash_behind_an_order_to_leave_at_once_is_told_as_one(behind: list[Any], pid: int | None, end: str) -> None:
    def leave(run: Run) -> None:
        for news in [GiveBack("the worker is leaving", at_once=True), *behind]:
            run.tell(news)

    bench = Bench(leave)
    bench.bridge.pid = pid
    bench.follow()
    assert [each[0] for each in bench.ledger.ends] == [end]
    assert bench.bridge.parted == [], "nothing waits for the engine"


@pytest.mark.parametrize(("trial", "steps"), [(None, [4, 9, 15, 20]), (20, [9, 20]), (18, [19, 20])])
def test_a_suspect_without_a_trial_or_near_its_end_stays_alone(trial: int | None, steps: list[int]) -> None:
    bench = Bench(_reports(steps), FakeLedger(replace(CLAIM, alone=True, trial=trial)))
    assert bench.follow().state == "succeeded"
    assert bench.bridge.parted == []


def test_a_suspects_hint_is_passed_on_to_the_worker_that_is_free_for_it() -> None:
    bench = Bench(lambda run: None, FakeLedger(Refused("elsewhere")))
    assert (bench.follow(), bench.sent) == (Outcome("refused", "elsewhere"), ["job"])


def test_a_hint_for_a_leaving_worker_is_passed_on() -> None:
    bench = Bench(lambda run: None)
    bench.gate.close()
    assert bench.follow().state == "refused"
    assert bench.sent == ["job"]


def test_only_jobs_that_move_are_renewed_and_the_others_hear_of_it() -> None:
    bench = Bench(lambda run: None)
    stuck, moving, uploading = (
        Run(JOB.model_copy(update={"id": name}), 5) for name in ("stuck", "moving", "uploading")
    )
    stuck.phase, stuck.moved_at = Phase.ACTIVE, 0.0
    moving.phase = Phase.ACTIVE
    uploading.phase, uploading.moved_at = Phase.UPLOADING, 0.0
    with bench.leases.holding(stuck), bench.leases.holding(moving), bench.leases.holding(uploading):
        bench.ledger.verdict = Renewal.CANCELLED
        bench.leases.renew()
        bench.bridge.silence_s = 31.0  # the engine hangs: only what it is done with is renewed
        bench.leases.renew()
        bench.bridge.pid = None  # it is being ended: its jobs are held until they hear of the crash
        bench.leases.renew()
    held = [["moving", "uploading"], ["uploading"], ["moving", "stuck", "uploading"]]
    assert [sorted(each) for each in bench.ledger.renewed] == held
    assert moving.news.get_nowait() == Revoked("cancelled")
    assert stuck.news.get_nowait() == Revoked("stalled")
    assert stuck.over.is_set()


def test_a_newer_run_of_a_job_is_held_in_place_of_the_older_one_which_hears_of_it() -> None:
    leases = Bench(lambda run: None).leases
    older, newer = Run(JOB, 5), Run(JOB, 6)
    with ExitStack() as first:
        first.enter_context(leases.holding(older))
        with leases.holding(newer):
            assert older.news.get_nowait() == Revoked("lost")
            first.close()
            assert leases.held == [newer]
            assert not newer.over.is_set()
        assert leases.held == []


def test_an_image_that_comes_twice_counts_once() -> None:
    router, run = Router(lambda run, step, steps: None), Run(JOB.model_copy(update={"n": 2}), 5)
    router.add(run)
    assert [router.route(replace(image(), index=index)) for index in (0, 0, 1)] == [False, False, True]
    assert len(router) == 0


def test_a_preview_that_comes_late_leaves_a_job_waiting() -> None:
    router, run = Router(lambda run, step, steps: None), Run(JOB, 5)
    router.add(run)
    phases = []
    for event in (Stepped("job", 1, 2), SetAside("job"), Previewed("job", 1, 2, {})):
        router.route(event)
        phases.append(run.phase)
    assert phases == [Phase.ACTIVE, Phase.WAITING, Phase.WAITING]


def test_uploads_are_bounded_and_give_up_with_their_job() -> None:
    room = threading.Event()
    uploads = Uploads(FakeStore(refuses=10**9), "", threads=1, limit_bytes=1000, on_room=room.set)
    run = Run(JOB, 5)
    assert uploads.has_room
    uploads.submit(run, image())
    assert not uploads.has_room
    run.over.set()
    assert room.wait(10)
    assert uploads.has_room
    assert run.news.empty()
