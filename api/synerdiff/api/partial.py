"""OpenAI's streamed images: partial images from a job's previews, then each finished image."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator
from typing import Any

from sse_starlette import ServerSentEvent
from starlette.concurrency import run_in_threadpool

from synerdiff.api import errors
from synerdiff.api.context import Gateway
from synerdiff.client import outcome
from synerdiff.client.images import fetch
from synerdiff.protocol import Job, JobEvent
from synerdiff.protocol.errors import SynerDiffError

MAX_PARTIAL_IMAGES = 3
_QUALITY = {"exact": "high", "balanced": "medium", "fast": "low"}
_NO_TOKENS = {
    "input_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "output_tokens": 0,
    "total_tokens": 0,
}


async def streamed(gateway: Gateway, job_id: str, partial_images: int) -> AsyncIterator[ServerSentEvent]:
    """The events of a job in OpenAI's form; an error after the start comes as an event of its own."""
    try:
        view = await run_in_threadpool(gateway.backend.view, job_id)
        left = partial_images
        async for event in gateway.hub.follow(job_id, previews=left > 0):
            if event.kind == "preview" and left and _due(event, partial_images, left):
                left -= 1
                for picture in event.data.values():
                    yield _event("partial_image", view.job, _partial(picture, partial_images - left - 1))
        view = outcome.succeeded(await run_in_threadpool(gateway.backend.view, job_id))
        for image in view.images:
            data = await run_in_threadpool(fetch, image, gateway.backend.store)
            fields = {"b64_json": base64.b64encode(data).decode(), "output_format": view.job.format}
            yield _event("completed", view.job, {**fields, "usage": _NO_TOKENS})
    except SynerDiffError as error:
        yield ServerSentEvent(errors.text({"error": errors.body(error)}), event="error")


def _due(event: JobEvent, wanted: int, left: int) -> bool:
    """Spread over the steps: of three, the first comes from the second quarter."""
    return event.step * (wanted + 1) >= event.steps * (wanted - left + 1)


def _partial(picture: str, index: int) -> dict[str, Any]:
    return {"b64_json": picture.partition(",")[2], "output_format": "webp", "partial_image_index": index}


def _event(kind: str, job: Job, fields: dict[str, Any]) -> ServerSentEvent:
    name = f"image_generation.{kind}"
    common = {
        "type": name,
        "created_at": int(time.time()),
        "background": "opaque",
        "quality": _QUALITY[job.quality],
        "size": f"{job.width}x{job.height}",
    }
    return ServerSentEvent(errors.text(common | fields), event=name)
