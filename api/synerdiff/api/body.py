"""Reading a JSON body: bounded in size and in time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from fastapi import Request

from synerdiff.api.errors import BodyTooLarge, MalformedBody, NotJson, SlowBody

MAX_BODY_BYTES = 256 * 1024
BODY_TIMEOUT_S = 15.0


async def json_object(request: Request) -> dict[str, Any]:
    """The request's body as a JSON object (a FastAPI dependency).

    Raises :class:`NotJson` (415: a form on another site can't send this type, so none can submit jobs),
    :class:`BodyTooLarge` (413), :class:`SlowBody` (408), :class:`MalformedBody` (400).
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise NotJson("send the body as Content-Type: application/json")
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            data = await _read(request)
    except TimeoutError:
        raise SlowBody(f"the body did not arrive within {BODY_TIMEOUT_S:g} s") from None
    return _parse(data)


async def _read(request: Request) -> bytes:
    data = bytearray()
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced[:18]) > MAX_BODY_BYTES:
        raise _too_large()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY_BYTES:
            raise _too_large()
    return bytes(data)


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"the body must be at most {MAX_BODY_BYTES} bytes")


def _parse(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:  # ValueError: bad UTF-8 and numbers too long to convert as well
        where = f" at line {error.lineno} column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise MalformedBody(f"the body is not JSON{where}") from None
    if not isinstance(found, dict):
        raise MalformedBody(f"the body must be a JSON object; got {_KINDS.get(type(found), 'another value')}")
    return found


_KINDS: dict[type, str] = {list: "an array", str: "a string", int: "a number", float: "a number", bool: "a boolean"}
