"""Malformed messages of every kind that a worker may find on its queue."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from typing import Any

QUEUE = "synerdiff.tiny-emoji"


def hint(job_id: str = "01JOB") -> dict[str, Any]:
    """A well-formed message, as Celery puts it on the list."""
    body = [[job_id], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    return {
        "body": base64.b64encode(json.dumps(body).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": "synerdiff.generate",
            "id": job_id,
            "root_id": job_id,
            "parent_id": None,
            "group": None,
            "eta": None,
            "expires": None,
            "retries": 0,
            "timelimit": [None, None],
            "argsrepr": "('01JOB',)",
            "kwargsrepr": "{}",
            "origin": "gen1@host",
        },
        "properties": {
            "correlation_id": job_id,
            "reply_to": "",
            "delivery_mode": 2,
            "delivery_info": {"exchange": QUEUE, "routing_key": QUEUE},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": "5a2c",
        },
    }


def changed(*path: str, to: Any = None, drop: bool = False) -> bytes:
    """A hint with one field changed or dropped."""
    message = copy.deepcopy(hint())
    place = message
    for name in path[:-1]:
        place = place[name]
    if drop:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return json.dumps(message).encode()


def with_body(body: Any) -> bytes:
    """A hint whose body is something else."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return changed("body", to=base64.b64encode(raw).decode())


Make = Callable[[], bytes]

MALFORMED: dict[str, tuple[str, bytes]] = {
    "empty": ("not_json", b""),
    "text": ("not_json", b"hello"),
    "half of a message": ("not_json", json.dumps(hint()).encode()[:200]),
    "bytes that are no text": ("not_json", b"\xff\xfe\x00\x80"),
    "pickle": ("not_json", b"\x80\x04\x95\x0b\x00\x00\x00."),
    "deeply nested": ("not_json", b"[" * 30_000),
    "null": ("not_an_object", b"null"),
    "a number": ("not_an_object", b"17"),
    "a list": ("not_an_object", b"[]"),
    "an empty object": ("properties", b"{}"),
    "properties are a list": ("properties", changed("properties", to=[])),
    "no delivery_info": ("delivery_info", changed("properties", "delivery_info", drop=True)),
    "delivery_info is text": ("delivery_info", changed("properties", "delivery_info", to="x")),
    "no routing key": ("delivery_info", changed("properties", "delivery_info", "routing_key", drop=True)),
    "no delivery tag": ("delivery_tag", changed("properties", "delivery_tag", drop=True)),
    "delivery tag is an object": ("delivery_tag", changed("properties", "delivery_tag", to={})),
    "body encoding unknown": ("body_encoding", changed("properties", "body_encoding", to="rot13")),
    "no content type": ("content_type", changed("content-type", drop=True)),
    "content type pickle": ("content_type", changed("content-type", to="application/x-python-serialize")),
    "content encoding unknown": ("content_encoding", changed("content-encoding", to="utf-37")),
    "headers missing": ("headers", changed("headers", drop=True)),
    "headers are null": ("headers", changed("headers", to=None)),
    "headers are a list": ("headers", changed("headers", to=["task"])),
    "no task": ("no_task", changed("headers", "task", drop=True)),
    "task is a list": ("no_task", changed("headers", "task", to=["synerdiff.generate"])),
    "unknown task": ("unknown_task", changed("headers", "task", to="os.system")),
    "built-in task of Celery": ("unknown_task", changed("headers", "task", to="celery.backend_cleanup")),
    "no id": ("task_id", changed("headers", "id", drop=True)),
    "id with control characters": ("task_id", changed("headers", "id", to="a\nb")),
    "eta in the far future": ("scheduling", changed("headers", "eta", to="9999-01-01T00:00:00")),
    "expires is no date": ("scheduling", changed("headers", "expires", to="soon")),
    "retries is text": ("retries", changed("headers", "retries", to="many")),
    "time limit of one": ("timelimit", changed("headers", "timelimit", to=[1])),
    "compressed": ("compression", changed("headers", "compression", to="application/x-bz2")),
    "body is null": ("body", changed("body", to=None)),
    "body is an object": ("body", changed("body", to={})),
    "bad base64": ("base64", changed("body", to="!!!!")),
    "base64 with wrong padding": ("base64", changed("body", to="abcde")),
    "plain body that is no JSON": ("body_not_json", changed("properties", "body_encoding", drop=True)),
    "body is no JSON": ("body_not_json", with_body(b"cat")),
    "body is binary": ("body_not_json", with_body(b"\xff\x00")),
    "body is an object of arguments": ("body_shape", with_body({"args": ["01JOB"]})),
    "body of two": ("body_shape", with_body([["01JOB"], {}])),
    "no argument": ("arguments", with_body([[], {}, {}])),
    "two arguments": ("arguments", with_body([["01JOB", "x"], {}, {}])),
    "arguments are text": ("arguments", with_body(["01JOB", {}, {}])),
    "job id is a number": ("job_id", with_body([[7], {}, {}])),
    "job id with a path": ("job_id", with_body([["../../etc/passwd"], {}, {}])),
    "job id too long": ("job_id", with_body([["x" * 65], {}, {}])),
    "keyword arguments": ("keyword_arguments", with_body([["01JOB"], {"prompt": "cat"}, {}])),
    "embed is null": ("embed", with_body([["01JOB"], {}, None])),
    "a callback": ("workflow", with_body([["01JOB"], {}, {"callbacks": [{"task": "os.system"}]}])),
    "too large": ("too_large", changed("body", to="A" * 100_000)),
}
