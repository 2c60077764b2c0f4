"""``/v1/images/generations``: the OpenAI Images shape over the same jobs."""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool

from synerdiff.api.body import json_object
from synerdiff.api.context import Gateway, gateway_of
from synerdiff.api.jobs import STREAM, IdempotencyKey, stored
from synerdiff.api.keys import Tenant
from synerdiff.api.partial import MAX_PARTIAL_IMAGES, streamed
from synerdiff.api.schema import IMAGES_BODY, WAIT_ERRORS
from synerdiff.api.streams import EventStream
from synerdiff.client import outcome
from synerdiff.client.images import fetch, with_urls
from synerdiff.protocol import FieldError, JobView
from synerdiff.protocol.errors import InvalidJob

router = APIRouter(prefix="/v1/images", tags=["images"])
WAIT_S = 600.0
_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
_REPLIES = ("url", "b64_json")
# OpenAI's names for how much care is taken, beside our own.
_QUALITY = {"auto": None, "standard": None, "medium": None, "low": "fast", "hd": "exact", "high": "exact"}
_RENAMED = {"output_format": "format"}


@dataclass(frozen=True, slots=True)
class Reply:
    """In what form the images are wanted: ``url`` or ``b64_json``, whole or streamed with partial images."""

    form: str = "url"
    stream: bool = False
    partial_images: int = 0


class GeneratedImage(BaseModel):
    """One image: a presigned URL or the file in base 64."""

    url: str | None = None
    b64_json: str | None = None
    seed: int


class Images(BaseModel):
    """The images of one job."""

    created: int
    data: list[GeneratedImage]
    job_id: str


@router.post(
    "/generations",
    response_model=Images,
    response_model_exclude_none=True,
    responses={**WAIT_ERRORS, 200: {"model": Images, "content": STREAM}},
    openapi_extra=IMAGES_BODY,
)
async def generate(
    gateway: Annotated[Gateway, Depends(gateway_of)],
    tenant: Tenant,
    request: Annotated[dict[str, Any], Depends(json_object)],
    idempotency_key: IdempotencyKey = None,
) -> Images | EventSourceResponse:
    """Make images and wait for them. A job's own fields (steps, seed, ...) may be given beside OpenAI's.

    With ``stream``, server-sent events: ``image_generation.partial_image`` up to ``partial_images`` times, then
    ``image_generation.completed`` for each image.
    """
    fields, wanted = translate(request)
    with ExitStack() as held:
        if wanted.stream:
            held.enter_context(gateway.streams.one(tenant))  # before the job: one that nobody may follow is not stored
        submission = await run_in_threadpool(stored, gateway, fields, tenant, idempotency_key)
        gateway.metrics.submitted.labels(created=str(submission.created).lower()).inc()
        if wanted.stream:
            return EventStream(streamed(gateway, submission.id, wanted.partial_images), held.pop_all())
    view = await _ended(gateway, submission.id)
    data = await run_in_threadpool(_data, gateway, view, wanted.form)
    return Images(created=int(time.time()), data=data, job_id=view.id)


def translate(request: Mapping[str, Any]) -> tuple[dict[str, Any], Reply]:
    """OpenAI's fields as a job's, and the wanted form of the reply. Raises :class:`InvalidJob`."""
    fields = {_RENAMED.get(key, key): value for key, value in request.items()}
    wanted = _reply(fields)
    size = fields.pop("size", None)
    if size not in (None, "auto"):
        fields["width"], fields["height"] = _size(size)
    user = fields.pop("user", None)
    if user is not None:
        fields["metadata"] = {**_metadata(fields.get("metadata")), "user": user}
    quality = fields.get("quality")
    if isinstance(quality, str) and quality in _QUALITY:
        fields["quality"] = _QUALITY[quality]
    return fields, wanted


def _reply(fields: dict[str, Any]) -> Reply:
    form, stream = fields.pop("response_format", None), fields.pop("stream", None)
    partial_images = fields.pop("partial_images", None)
    if form is not None and form not in _REPLIES:
        raise _wrong("response_format", f"response_format must be url or b64_json; got {str(form)[:40]!r}")
    if stream is not None and not isinstance(stream, bool):
        raise _wrong("stream", f"stream must be true or false; got {str(stream)[:40]!r}")
    if stream and form == "url":
        raise _wrong("response_format", "response_format must be b64_json where stream is true; got 'url'")
    if partial_images is not None and (
        type(partial_images) is not int or not 0 <= partial_images <= MAX_PARTIAL_IMAGES
    ):
        message = f"partial_images must be a whole number from 0 to {MAX_PARTIAL_IMAGES}; got"
        raise _wrong("partial_images", f"{message} {str(partial_images)[:40]!r}")
    return Reply(form or "url", bool(stream), partial_images or 0)


def _size(size: Any) -> tuple[int, int]:
    match = _SIZE.fullmatch(size) if isinstance(size, str) else None
    if match is None:
        raise _wrong("size", f"size must be WIDTHxHEIGHT, such as 512x512, or auto; got {str(size)[:40]!r}")
    return int(match[1]), int(match[2])


def _metadata(given: Any) -> dict[str, Any]:
    if given is None or isinstance(given, dict):
        return given or {}
    raise _wrong("metadata", f"metadata must be an object; got {str(given)[:40]!r}")


def _wrong(field: str, message: str) -> InvalidJob:
    return InvalidJob([FieldError(field=field, message=message)])


async def _ended(gateway: Gateway, job_id: str) -> JobView:
    try:
        async with asyncio.timeout(WAIT_S):
            async for _ in gateway.hub.follow(job_id):
                pass
    except TimeoutError:
        raise outcome.timed_out(await run_in_threadpool(gateway.backend.view, job_id), WAIT_S) from None
    return outcome.succeeded(await run_in_threadpool(gateway.backend.view, job_id))


def _data(gateway: Gateway, view: JobView, wanted: str) -> list[GeneratedImage]:
    store = gateway.backend.store
    if wanted == "url":
        found = with_urls(view, store, gateway.settings.presign_expiry_s).images
        return [GeneratedImage(url=image.url, seed=image.seed) for image in found]
    return [
        GeneratedImage(b64_json=base64.b64encode(fetch(image, store)).decode(), seed=image.seed)
        for image in view.images
    ]
