"""OpenAI's fields become a job's."""

from __future__ import annotations

from typing import Any

import pytest

from synerdiff.api.images import Reply, translate
from synerdiff.protocol.errors import InvalidJob


def test_fields_are_translated() -> None:
    fields, wanted = translate(
        {
            "prompt": "a fox",
            "model": "tiny-emoji",
            "n": 2,
            "size": "128x256",
            "response_format": "b64_json",
            "output_format": "webp",
            "user": "ann",
            "steps": 4,
        }
    )
    assert wanted == Reply("b64_json")
    assert fields == {
        "prompt": "a fox",
        "model": "tiny-emoji",
        "n": 2,
        "width": 128,
        "height": 256,
        "format": "webp",
        "metadata": {"user": "ann"},
        "steps": 4,
    }


def test_what_is_left_out_has_defaults() -> None:
    assert translate({"prompt": "a fox", "size": "auto", "stream": False}) == ({"prompt": "a fox"}, Reply())


@pytest.mark.parametrize(
    ("given", "job"), [("hd", "exact"), ("low", "fast"), ("standard", None), ("fast", "fast"), ("bogus", "bogus")]
)
def test_quality_has_two_vocabularies(given: str, job: str | None) -> None:
    assert translate({"prompt": "x", "quality": given})[0]["quality"] == job


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", "big"),
        ("size", "0x64"),
        ("size", 64),
        ("size", ["64x64"]),
        ("response_format", "png"),
        ("response_format", []),
        ("stream", "yes"),
        ("partial_images", 4),
        ("partial_images", True),
        ("partial_images", "2"),
    ],
)
def test_a_wrong_value_names_its_field(field: str, value: Any) -> None:
    with pytest.raises(InvalidJob) as caught:
        translate({"prompt": "x", field: value})
    assert caught.value.field == field


def test_streams_carry_the_images_themselves() -> None:
    assert translate({"prompt": "x", "stream": True, "partial_images": 2})[1] == Reply("url", True, 2)
    with pytest.raises(InvalidJob, match="b64_json where stream"):
        translate({"prompt": "x", "stream": True, "response_format": "url"})


def test_metadata_of_a_wrong_kind_reaches_the_validation() -> None:
    assert translate({"prompt": "x", "metadata": "text"})[0]["metadata"] == "text"
    with pytest.raises(InvalidJob):
        translate({"prompt": "x", "metadata": "text", "user": "ann"})
