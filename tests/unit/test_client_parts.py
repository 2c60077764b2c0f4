"""The client's parts that need no server."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import pytest

from synerdiff.client import (
    AsyncClient,
    Client,
    InvalidJob,
    JobCancelled,
    JobDead,
    JobExpired,
    JobFailed,
    JobFields,
    JobState,
    JobView,
    ModelEntry,
    SynerDiffError,
    UnknownModel,
    outcome,
)
from synerdiff.client.catalogue import Catalogue
from synerdiff.client.pace import LONGEST_S, Pace
from synerdiff.client.prepare import prepare
from synerdiff.protocol import ErrorInfo, Job, Limits

ENTRY = ModelEntry(name="tiny", pool="tiny")


def _prepare(fields: dict[str, Any], key: str | None = None) -> Job:
    return prepare(fields, Catalogue(lambda: [ENTRY]), Limits(), "tiny", key)[0]


def test_a_model_that_came_since_the_last_look_is_found() -> None:
    known: list[ModelEntry] = []
    catalogue = Catalogue(lambda: list(known), fresh_s=3600)
    with pytest.raises(UnknownModel, match="no worker has registered"):
        catalogue.entry("tiny")
    known.append(ENTRY)
    assert catalogue.entry("tiny") == ENTRY
    assert catalogue.entries() == [ENTRY]


@pytest.mark.parametrize("name", ["big", 7, None, ["tiny"], "x" * 500])
def test_an_unknown_model_is_answered_with_the_known_ones(name: Any) -> None:
    with pytest.raises(UnknownModel, match="model must be one of tiny; got") as caught:
        Catalogue(lambda: [ENTRY]).entry(name)
    assert len(caught.value.message) < 150


def test_the_default_model_and_size_are_filled_in() -> None:
    job = _prepare({"prompt": "x", "steps": None})
    assert (job.model, job.width, job.height, job.steps) == ("tiny", 128, 128, 25)


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb"])
def test_a_wrong_idempotency_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidJob, match="idempotency_key"):
        _prepare({"prompt": "x"}, key)


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (JobState.FAILED, JobFailed),
        (JobState.CANCELLED, JobCancelled),
        (JobState.EXPIRED, JobExpired),
        (JobState.DEAD, JobDead),
    ],
)
def test_a_job_without_images_raises_its_reason(state: JobState, kind: type[SynerDiffError]) -> None:
    view = JobView(id="j", state=state, job=_prepare({"prompt": "x"}), error=ErrorInfo(code="c", message="the reason"))
    with pytest.raises(kind, match=r"job j .*: the reason"):
        outcome.succeeded(view)


def test_a_job_that_succeeded_is_its_own_answer() -> None:
    view = JobView(id="j", state=JobState.SUCCEEDED, job=_prepare({"prompt": "x"}))
    assert outcome.succeeded(view) is view


def test_pauses_grow_and_end_with_the_timeout() -> None:
    pace = Pace(None)
    pauses = [pace.next_s() for _ in range(20)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_S
    assert not pace.over
    pace.reset()
    assert pace.next_s() == pauses[0]
    assert Pace(0).over
    assert Pace(0).next_s() == 0


def test_the_job_fields_are_those_of_a_job() -> None:
    assert set(JobFields.__annotations__) == set(Job.model_fields)


def test_the_async_client_has_every_operation_with_the_same_parameters() -> None:
    def operations(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(value).parameters)
            for name, value in vars(kind).items()
            if inspect.isfunction(value) and not name.startswith("_")
        }

    assert operations(AsyncClient) == operations(Client)


def test_importing_the_client_loads_nothing_heavy() -> None:
    heavy = (
        "redis",
        "celery",
        "kombu",
        "boto3",
        "botocore",
        "httpx",
        "torch",
        "numpy",
        "PIL",
        "fastapi",
        "uvicorn",
    )
    check = f"import sys, synerdiff.client; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
