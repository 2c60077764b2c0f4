"""What a message on the worker's queue must look like before Celery sees it.

Stock Celery exits on several kinds of malformed message, and its stock successor does too, because the
message is put back on exit. A hint has one shape, so everything else is turned away at the door.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Collection, Mapping
from typing import Any

MAX_MESSAGE_BYTES = 65_536
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_QUIET_HEADERS = ("eta", "expires", "group", "chord")
_QUIET_EMBED = ("callbacks", "errbacks", "chain", "chord")


class MalformedMessage(Exception):
    """The message is not a hint; ``kind`` says in one word why."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def _require(condition: object, kind: str) -> None:
    if not condition:
        raise MalformedMessage(kind)


def _parse(text: bytes, kind: str) -> Any:
    try:
        return json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(kind) from error


def _vet_envelope(message: Any) -> None:
    _require(isinstance(message, dict), "not_an_object")
    properties = message.get("properties")
    _require(isinstance(properties, dict), "properties")
    info = properties.get("delivery_info")
    _require(isinstance(info, dict), "delivery_info")
    _require(all(isinstance(info.get(key), str) for key in ("exchange", "routing_key")), "delivery_info")
    tag = properties.get("delivery_tag")
    _require(isinstance(tag, str) and 0 < len(tag) <= 128, "delivery_tag")
    _require(properties.get("body_encoding") in (None, "base64"), "body_encoding")
    _require(message.get("content-type") == "application/json", "content_type")
    _require(str(message.get("content-encoding")).lower() == "utf-8", "content_encoding")


def _vet_headers(headers: Any, tasks: Collection[str]) -> None:
    _require(isinstance(headers, dict), "headers")
    _require(isinstance(headers.get("task"), str), "no_task")
    _require(headers["task"] in tasks, "unknown_task")
    _require(isinstance(headers.get("id"), str) and _ID.fullmatch(headers["id"]), "task_id")
    _require(all(headers.get(key) is None for key in _QUIET_HEADERS), "scheduling")
    _require(type(headers.get("retries", 0)) is int, "retries")
    limits = headers.get("timelimit", [None, None])
    _require(limits is None or limits == [None, None], "timelimit")
    _require("compression" not in headers, "compression")


def _decode_body(body: Any, encoding: str | None) -> Any:
    """Celery's own messages carry the body in base64, hints as it is."""
    _require(isinstance(body, str), "body")
    try:
        raw = base64.b64decode(body, validate=True) if encoding else body.encode()
    except (ValueError, binascii.Error) as error:
        raise MalformedMessage("base64") from error
    return _parse(raw, "body_not_json")


def _vet_body(body: Any) -> None:
    _require(isinstance(body, list) and len(body) == 3, "body_shape")
    args, kwargs, embed = body
    _require(isinstance(args, list) and len(args) == 1, "arguments")
    _require(isinstance(args[0], str) and _ID.fullmatch(args[0]), "job_id")
    _require(isinstance(kwargs, dict) and not kwargs, "keyword_arguments")
    _require(isinstance(embed, Mapping), "embed")
    _require(not any(embed.get(key) for key in _QUIET_EMBED), "workflow")


def vet(item: bytes, tasks: Collection[str]) -> dict[str, Any]:
    """The message in ``item`` if it is a hint for one of ``tasks``.

    Raises :class:`MalformedMessage` for everything else, whatever its bytes.
    """
    _require(len(item) <= MAX_MESSAGE_BYTES, "too_large")
    message = _parse(item, "not_json")
    _vet_envelope(message)
    _vet_headers(message.get("headers"), tasks)
    _vet_body(_decode_body(message.get("body"), message["properties"].get("body_encoding")))
    return dict(message)
