"""What the OpenAPI document says of jobs and errors beyond what FastAPI finds by itself."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path

from synerdiff.api.errors import ErrorReply
from synerdiff.protocol import Job, Limits

# The pattern is for readers alone: an id that does not match is answered like any that is not there, with 404.
JOB_ID = Annotated[str, Path(description="a job's id", json_schema_extra={"pattern": "^[A-Za-z0-9_-]{1,64}$"})]

_MEANING = {
    400: "The body is not a JSON object",
    401: "No valid key",
    403: "The key does not allow this",
    404: "No such job, or another tenant's",
    408: "The body came too slowly",
    409: "The id or idempotency key was used with other fields",
    413: "The body is too large",
    415: "The body is not application/json",
    422: "A field is wrong; `errors` lists each",
    429: "The queue or a quota is full; `Retry-After` says when to try again",
    500: "The job failed",
    503: "Redis or S3 cannot be reached",
    504: "The job did not end in time",
}


def errors_of(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route, for its OpenAPI entry."""
    return {status: {"model": ErrorReply, "description": _MEANING[status]} for status in statuses}


SUBMIT_ERRORS = errors_of(400, 401, 403, 408, 409, 413, 415, 422, 429, 503)
WAIT_ERRORS = {**SUBMIT_ERRORS, **errors_of(500, 504), 410: {"model": ErrorReply, "description": "The job was ended"}}


def job_schema(limits: Limits) -> dict[str, Any]:
    """The JSON schema of a job as a producer sends it: caps in, null allowed for what may be left out."""
    schema = Job.model_json_schema()
    for name, limit in _caps(limits).items():
        schema["properties"][name].update(limit)
    for name in ("width", "height", "model"):
        schema["properties"][name].pop("default", None)
    schema["properties"] = {
        name: part if name in schema["required"] or "anyOf" in part else {"anyOf": [part, {"type": "null"}]}
        for name, part in schema["properties"].items()
    }
    schema.pop("description", None)
    return schema


def _caps(limits: Limits) -> dict[str, dict[str, Any]]:
    side = {"minimum": limits.min_side, "maximum": limits.max_side, "multipleOf": 8}
    return {
        "prompt": {"maxLength": limits.max_prompt_chars},
        "negative_prompt": {"maxLength": limits.max_prompt_chars},
        "width": side,
        "height": side,
        "steps": {"maximum": limits.max_steps},
        "n": {"maximum": limits.max_n},
        "guidance_scale": {"maximum": limits.max_guidance_scale},
        "metadata": {"maxProperties": limits.max_metadata_entries},
    }


def _body(schema: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}}


JOB_BODY = _body(
    {"$ref": "#/components/schemas/JobFields"},
    {"prompt": "a red apple", "steps": 25, "guidance_scale": 5.0, "seed": 7, "quality": "balanced"},
)
IMAGES_BODY = _body(
    {"$ref": "#/components/schemas/ImagesRequest"},
    {"prompt": "a red apple", "n": 2, "size": "128x128", "response_format": "b64_json"},
)
