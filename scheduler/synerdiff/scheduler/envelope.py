"""Reading a Celery message as kombu's Redis transport writes it, trusting nothing in it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synerdiff.dispatch import SUBMIT

MAX_BYTES = 1 << 20


class BadMessage(ValueError):
    """The message is not one of ours, or is damaged; the text says how."""


@dataclass(frozen=True, slots=True)
class SubmitMessage:
    """A producer's job: ``task_id`` becomes the job's id unless the fields have one."""

    task_id: str
    fields: dict[str, Any]


def read_message(raw: bytes) -> SubmitMessage:
    """The job of a ``synerdiff.submit`` message: its keyword arguments, or its one argument that is an object.

    Raises :class:`BadMessage`.
    """
    if len(raw) > MAX_BYTES:
        raise BadMessage(f"the message has {len(raw)} bytes; at most {MAX_BYTES} are taken")
    envelope = _object(_json(raw, "the message"), "the message")
    headers = _object(envelope.get("headers"), "headers")
    if headers.get("task") != SUBMIT:
        raise BadMessage(f"the task is {headers.get('task')!r:.60}, not {SUBMIT}")
    if envelope.get("content-type") != "application/json" or headers.get("compression"):
        raise BadMessage("the body must be JSON, uncompressed")
    body = _json(_decoded(envelope), "the body")
    if not isinstance(body, list) or len(body) < 2 or not isinstance(body[0], list):
        raise BadMessage("the body must be [args, kwargs, embed]")
    args, kwargs = body[0], _object(body[1], "kwargs")
    fields = {**_object(args[0], "the argument"), **kwargs} if args else kwargs
    if len(args) > 1:
        raise BadMessage(f"{SUBMIT} takes one argument, the job's fields; got {len(args)}")
    task_id = headers.get("id")
    if not isinstance(task_id, str) or not task_id:
        raise BadMessage("headers.id must be text")
    return SubmitMessage(task_id, fields)


def _decoded(envelope: Mapping[str, Any]) -> bytes:
    body, properties = envelope.get("body"), envelope.get("properties")
    if not isinstance(body, str):
        raise BadMessage("the body must be text")
    encoding = _object(properties, "properties").get("body_encoding")
    try:
        return base64.b64decode(body, validate=True) if encoding == "base64" else body.encode()
    except ValueError as error:  # half a surrogate pair, or what is not base64
        raise BadMessage(f"the body cannot be decoded ({error})") from None


def _json(raw: bytes, what: str) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadMessage(f"{what} is not JSON ({type(error).__name__})") from None


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadMessage(f"{what} must be an object; got {type(value).__name__}")
    return value
