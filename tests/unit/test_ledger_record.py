"""Records: what counts as the same job, and reading those of an older or newer version."""

from __future__ import annotations

import json

from synerdiff.ledger.record import fingerprint, read_view
from synerdiff.protocol import Job, JobState


def test_a_seed_chosen_for_the_producer_does_not_make_another_job() -> None:
    assert fingerprint(Job(prompt="p")) == fingerprint(Job(prompt="p"))
    assert fingerprint(Job(prompt="p", seed=1)) != fingerprint(Job(prompt="p", seed=2))
    assert fingerprint(Job(prompt="p")) != fingerprint(Job(prompt="q"))


def test_a_record_of_a_newer_version_is_read_without_what_it_added() -> None:
    document = json.dumps({**Job(id="a", model="m", prompt="p").model_dump(mode="json"), "added_later": 1})
    view = read_view("a", {"v": "2", "state": "queued", "job": document, "created_at": "1.5", "new": "x"})
    assert view is not None
    assert (view.state, view.created_at, view.job.prompt) == (JobState.QUEUED, 1.5, "p")


def test_a_record_with_only_the_first_fields_is_read_with_defaults() -> None:
    view = read_view("a", {"state": "running", "job": '{"id": "a", "prompt": "p"}', "worker": ""})
    assert view is not None
    assert (view.attempts, view.worker, view.step, view.finished_at) == (0, None, 0, None)
    assert read_view("a", {}) is None
