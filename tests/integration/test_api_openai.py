"""``POST /v1/images/generations``, asked by OpenAI's own client."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import httpx
import openai
import pytest

from tests.fake_worker import MODEL, POOL, FakeWorker
from tests.gateway_server import Served, error_of


@pytest.fixture
def openai_client(here: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{here.url}/v1", api_key="unused", max_retries=0, timeout=60) as client:
        yield client


def test_openai_images_as_base64(openai_client: openai.OpenAI, worker: FakeWorker) -> None:
    reply = openai_client.images.generate(
        prompt="a fox",
        model=MODEL,
        n=2,
        size="64x128",
        response_format="b64_json",
        extra_body={"steps": 2, "seed": 9, "guidance_scale": 3.0},
    )
    assert reply.created > 0
    images = reply.data or []
    assert len(images) == 2
    for image in images:
        assert base64.b64decode(image.b64_json or "").startswith(b"\x89PNG")
        assert image.url is None


def test_openai_images_as_urls(openai_client: openai.OpenAI, worker: FakeWorker) -> None:
    reply = openai_client.images.generate(prompt="a fox", extra_body={"steps": 1, "format": "webp"})
    assert reply.data is not None
    assert reply.data[0].url is not None
    assert httpx.get(reply.data[0].url).headers["content-type"] == "image/webp"
    assert [model.id for model in openai_client.models.list()] == [MODEL]


def test_openai_images_streamed(openai_client: openai.OpenAI, worker: FakeWorker) -> None:
    stream = openai_client.images.generate(
        prompt="a fox, slowly", n=2, size="64x64", stream=True, partial_images=2, extra_body={"steps": 9}
    )
    events = list(stream)
    partial = [event for event in events if event.type == "image_generation.partial_image"]
    completed = [event for event in events if event.type == "image_generation.completed"]
    assert [event.type for event in events] == [event.type for event in partial + completed]
    assert [event.partial_image_index for event in partial] == [0, 0, 1, 1]
    assert {event.output_format for event in partial} == {"webp"}
    assert all(base64.b64decode(event.b64_json).startswith(b"RIFF") for event in partial)
    assert [(event.size, event.output_format) for event in completed] == [("64x64", "png")] * 2
    assert all(base64.b64decode(event.b64_json).startswith(b"\x89PNG") for event in completed)


def test_openai_streams_say_what_went_wrong(openai_client: openai.OpenAI, worker: FakeWorker) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="steps"):
        openai_client.images.generate(prompt="a fox", stream=True, extra_body={"steps": 0})
    stream = openai_client.images.generate(prompt="please fail", stream=True, extra_body={"steps": 1})
    with pytest.raises(openai.APIError, match="caught fire"):
        list(stream)


def test_openai_clients_do_not_send_a_failed_job_again(here: Served, worker: FakeWorker) -> None:
    with (
        openai.OpenAI(base_url=f"{here.url}/v1", api_key="unused", max_retries=2, timeout=60) as client,
        pytest.raises(openai.InternalServerError, match="caught fire"),
    ):
        client.images.generate(prompt="please fail", extra_body={"steps": 1})
    assert len(here.gateway.backend.ledger.list_jobs(pool=POOL)) == 1


def test_images_under_one_key_are_one_job(http: httpx.Client, here: Served, worker: FakeWorker) -> None:
    def post(prompt: str) -> httpx.Response:
        body = {"prompt": prompt, "steps": 1}
        return http.post("/v1/images/generations", json=body, headers={"Idempotency-Key": "order-1"})

    first, again = post("a fox").json(), post("a fox").json()
    assert again["job_id"] == first["job_id"]
    error_of(post("a hen"), 409, "idempotency_conflict")
    text = http.get("/metrics").text
    for created in ("true", "false"):
        assert f'synerdiff_jobs_submitted_total{{created="{created}"}} 1.0' in text


def test_openai_errors(openai_client: openai.OpenAI, worker: FakeWorker) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="stpes") as caught:
        openai_client.images.generate(prompt="a fox", extra_body={"stpes": 1})
    assert caught.value.code == "invalid_job"
    with pytest.raises(openai.UnprocessableEntityError, match="size"):
        openai_client.images.generate(prompt="a fox", size="1x1x1")
    with pytest.raises(openai.InternalServerError, match="caught fire"):
        openai_client.images.generate(prompt="please fail", extra_body={"steps": 1})
