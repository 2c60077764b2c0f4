"""The door of a worker's queue: hints pass, everything else is turned away with its kind."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synerdiff.dispatch import celery_app
from synerdiff.dispatch.hints import ID, TAG, _template
from synerdiff.workers.vetting import MalformedMessage, vet
from tests.worker_messages import MALFORMED, hint

TASKS = frozenset({"synerdiff.generate"})


def test_a_hint_passes_unchanged() -> None:
    assert vet(json.dumps(hint()).encode(), TASKS) == hint()


@pytest.mark.parametrize("name", MALFORMED)
def test_everything_else_is_turned_away(name: str) -> None:
    kind, message = MALFORMED[name]
    with pytest.raises(MalformedMessage) as caught:
        vet(message, TASKS)
    assert caught.value.kind == kind


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@given(JSON | st.fixed_dictionaries({"properties": JSON, "headers": JSON, "body": JSON}))
def test_no_value_gets_through_or_raises_anything_else(value: object) -> None:
    with pytest.raises(MalformedMessage):
        vet(json.dumps(value).encode(), TASKS)


@given(st.binary(max_size=200))
def test_no_bytes_get_through_or_raise_anything_else(item: bytes) -> None:
    with pytest.raises(MalformedMessage):
        vet(item, TASKS)


def test_a_hint_as_producers_send_it_passes() -> None:
    message = json.loads(
        _template(celery_app("redis://localhost"), "tiny-emoji").replace(ID, "01JOB").replace(TAG, "t-1")
    )
    assert vet(json.dumps(message).encode(), TASKS) == message
