"""Following jobs: in order, through a Redis that goes away, and no longer than asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from synerdiff.cli import follow as following
from synerdiff.cli.follow import follow, step_bars
from synerdiff.cli.jobs_command import _show_many
from synerdiff.client import Client, Job, JobState, JobView, WaitTimeout
from synerdiff.protocol.errors import LedgerUnavailable


class Backend:
    """Answers looks at jobs from a script: a mapping of ids to states, or an error."""

    def __init__(self, *looks: dict[str, JobState] | Exception) -> None:
        self.looks = list(looks)

    def views(self, ids: Sequence[str]) -> dict[str, JobView]:
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(look, Exception):
            raise look
        return {each: JobView(id=each, state=look[each], job=Job(prompt="a", steps=4), step=2) for each in ids}


def client(*looks: dict[str, JobState] | Exception) -> Client:
    fake: Any = type("FakeClient", (), {"backend": Backend(*looks)})()
    return cast(Client, fake)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_S", 0.0)
    monkeypatch.setattr(following, "RETRY_S", 0.0)


def test_views_come_in_the_order_of_the_ids() -> None:
    looks = client(
        {"a": JobState.RUNNING, "b": JobState.SUCCEEDED},
        {"a": JobState.FAILED},
    )
    ended = list(follow(looks, ["a", "b"], seen=lambda _: None))
    assert [(view.id, view.state) for view in ended] == [("a", JobState.FAILED), ("b", JobState.SUCCEEDED)]


def test_a_redis_that_comes_back_is_waited_for() -> None:
    gone = LedgerUnavailable("Redis cannot be reached")
    looks = client(gone, gone, {"a": JobState.SUCCEEDED})
    assert [view.id for view in follow(looks, ["a"], seen=lambda _: None)] == ["a"]


def test_a_redis_that_stays_away_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PATIENCE_S", -1.0)
    with pytest.raises(LedgerUnavailable):
        list(follow(client(LedgerUnavailable("gone")), ["a"], seen=lambda _: None))


def test_waiting_ends_with_the_timeout() -> None:
    with pytest.raises(WaitTimeout, match="1 of 1 jobs have not ended"):
        list(follow(client({"a": JobState.QUEUED}), ["a"], seen=lambda _: None, timeout_s=0.0))


def test_bars_take_every_look() -> None:
    looks = client(
        {"a": JobState.QUEUED, "b": JobState.RUNNING},
        {"a": JobState.RUNNING, "b": JobState.SUCCEEDED},
        {"a": JobState.CANCELLED},
    )
    with step_bars({"a": "one", "b": "two"}) as seen:
        ended = list(follow(looks, ["a", "b"], seen=seen))
    assert [view.state for view in ended] == [JobState.CANCELLED, JobState.SUCCEEDED]


def test_brackets_and_colons_of_a_prompt_are_shown_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = "a [/b] cat [red] :cat:"
    view = JobView(id="a", state=JobState.RUNNING, job=Job(prompt=prompt, steps=4), step=2)
    with step_bars({"a": prompt}) as seen:
        seen(view)
    monkeypatch.setenv("COLUMNS", "160")
    _show_many([view], as_json=False)
    assert prompt in capsys.readouterr().out
