"""Every error in one JSON shape, and the errors that only HTTP has."""

from __future__ import annotations

import json
import logging
import math
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict
from starlette.exceptions import HTTPException
from starlette.responses import Response

from synerdiff.protocol import FieldError, SynerDiffError
from synerdiff.protocol.errors import InvalidJob, Overloaded, Unauthorized

log = logging.getLogger("synerdiff.api")
DOCS = "/docs/errors"


class ErrorBody(BaseModel):
    """One error: a stable code, a sentence, the field, whether trying again may help, where to read more."""

    code: str
    message: str
    field: str | None = None
    retryable: bool = False
    docs: str
    errors: list[FieldError] = []


_STEPS = "steps must be at least 1; got 0"
_EXAMPLE: JsonDict = {
    "code": "invalid_job",
    "message": _STEPS,
    "field": "steps",
    "retryable": False,
    "docs": "/docs/errors#invalid_job",
    "errors": [{"field": "steps", "message": _STEPS}],
}


class ErrorReply(BaseModel):
    """What every answer of status 400 or above holds."""

    model_config = ConfigDict(json_schema_extra={"example": {"error": _EXAMPLE}})

    error: ErrorBody


class MalformedBody(SynerDiffError):
    """The body is not a JSON object."""

    code = "malformed_body"
    http_status = 400


class BodyTooLarge(SynerDiffError):
    """The body is larger than the gateway reads."""

    code = "body_too_large"
    http_status = 413


class SlowBody(SynerDiffError):
    """The body did not arrive in time."""

    code = "slow_body"
    http_status = 408
    retryable = True


class NotJson(SynerDiffError):
    """The body's media type is not application/json."""

    code = "not_json"
    http_status = 415


class NotFound(SynerDiffError):
    """There is nothing at this path."""

    code = "not_found"
    http_status = 404


UNAVAILABLE_RETRY_S = "5"
"""About what a Sentinel's failover takes (docs/reliability.md)."""


class MethodNotAllowed(SynerDiffError):
    """The path has no such method."""

    code = "method_not_allowed"
    http_status = 405


class InvalidRequest(InvalidJob):
    """A header, path part or query is wrong."""

    code = "invalid_request"


class TooManyStreams(Overloaded):
    """The tenant has as many event streams open as it may; try again after ``retry_after_s`` seconds."""

    code = "too_many_streams"


class InternalError(SynerDiffError):
    """The gateway failed; its log says why."""

    code = "internal_error"
    retryable = True


class JsonReply(Response):
    """JSON in ASCII, so that any text a client sent can be sent back, lone surrogates too."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return text(content).encode("ascii")


def text(content: Any) -> str:
    """JSON in ASCII."""
    return json.dumps(content, separators=(",", ":"))


def reply(error: SynerDiffError, headers: dict[str, str] | None = None) -> Response:
    """The HTTP answer of an error.

    ``x-should-retry`` is what OpenAI's clients go by; without it they send every 409, 429 and 5xx again, and so a job
    that failed or did not end in time.
    """
    found = dict(headers or {})
    found["x-should-retry"] = "true" if error.retryable and error.http_status != 504 else "false"
    if isinstance(error, Overloaded):
        found["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    elif error.retryable and error.http_status == 503:
        found["Retry-After"] = UNAVAILABLE_RETRY_S
    if isinstance(error, Unauthorized):
        found["WWW-Authenticate"] = "Bearer"
    return JsonReply({"error": body(error)}, status_code=error.http_status, headers=found)


def body(error: SynerDiffError) -> dict[str, Any]:
    """The error as JSON values."""
    fields = error.errors if isinstance(error, InvalidJob) else ()
    return {
        **error.info.model_dump(),
        "docs": f"{DOCS}#{error.code}",
        "errors": [item.model_dump() for item in fields],
    }


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` in this shape."""

    @app.exception_handler(SynerDiffError)
    async def ours(_: Request, error: SynerDiffError) -> Response:
        return reply(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return reply(InvalidRequest([_field_error(item) for item in error.errors()]))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        return reply(_http_error(request, error.status_code), dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return reply(InternalError("the gateway failed on this request; its log says why"))


def _field_error(item: dict[str, Any]) -> FieldError:
    field = ".".join(str(part) for part in item["loc"][1:]) or str(item["loc"][0])
    return FieldError(field=field, message=f"{field}: {item['msg'][0].lower()}{item['msg'][1:]}")


def _http_error(request: Request, status: int) -> SynerDiffError:
    path = request.url.path[:120]
    if status == 405:
        return MethodNotAllowed(f"{request.method} is not a method of {path}")
    if status == 404:
        return NotFound(f"there is nothing at {path}; /openapi.json lists what there is")
    return MalformedBody("the request cannot be read")
