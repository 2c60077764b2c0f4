"""Plans and tables as text: what the scheduler writes to Redis and a worker reads back."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synerdiff.policy import fields as read
from synerdiff.policy.errors import PolicyError
from synerdiff.policy.plan import Plan, PlanTable, PlanView

FORMAT = 1
MAX_CELLS = 16_000_000
_ARRAYS = {"unet": np.uint8, "chunks": np.uint16, "granularity": np.uint8}
_TABLE_FIELDS = (
    "format",
    "profile_id",
    "rows_per_sample",
    "chunks_per_decode",
    "granularities",
    "shape",
    "bound_slots",
    *_ARRAYS,
)
_HEAD_FIELDS = (
    "format",
    "version",
    "profile_id",
    "batch_cap",
    "skip_above",
    "table_hash",
    "theta",
    "price",
    "reprofile",
)


def document_hash(document: str) -> str:
    """The name a table is cached under."""
    return hashlib.sha256(document.encode()).hexdigest()[:16]


def table_document(table: PlanTable) -> str:
    """The table as JSON text; its arrays are little-endian, deflated, in base64."""
    packed = {
        name: base64.b64encode(zlib.compress(getattr(table, name).astype(np.dtype(kind).newbyteorder("<")).tobytes()))
        for name, kind in _ARRAYS.items()
    }
    plain: dict[str, Any] = {
        "format": FORMAT,
        "profile_id": table.profile_id,
        "rows_per_sample": table.rows_per_sample,
        "chunks_per_decode": table.chunks_per_decode,
        "granularities": list(table.granularities),
        "shape": list(table.unet.shape),
        "bound_slots": table.bound_slots,
    }
    return json.dumps(plain | {name: value.decode() for name, value in packed.items()}, sort_keys=True)


def parse_table(document: str | bytes) -> PlanTable:
    """The table of a JSON text; raises :class:`PolicyError` naming the field that is wrong."""
    try:
        text = document.decode() if isinstance(document, bytes) else document
    except UnicodeDecodeError as error:
        raise PolicyError("table", f"is not JSON ({error})") from None
    given = read.load_object(text, "table")
    if given.get("format") != FORMAT:
        raise PolicyError("format", f"must be {FORMAT}; got {given.get('format')!r:.40}")
    given = {name: given[name] for name in _TABLE_FIELDS if name in given}  # a newer scheduler may write more
    read.only(given, _TABLE_FIELDS, _TABLE_FIELDS)
    per_decode = read.whole(given["chunks_per_decode"], "chunks_per_decode", at_least=1)
    shape = [read.whole(side, "shape", at_least=1) for side in read.items(given["shape"], "shape")]
    if (
        len(shape) != 2
        or shape[0] < 2
        or shape[1] < 2
        or (shape[1] - 1) % per_decode
        or shape[0] * shape[1] > MAX_CELLS
    ):
        raise PolicyError("shape", f"must be (active + 1, waiting x {per_decode} + 1); got {shape}")
    names = tuple(read.text(each, "granularities") for each in read.items(given["granularities"], "granularities"))
    table = PlanTable(
        profile_id=read.text(given["profile_id"], "profile_id"),
        rows_per_sample=read.whole(given["rows_per_sample"], "rows_per_sample", at_least=1),
        chunks_per_decode=per_decode,
        granularities=names,
        unet=_unpack(given, "unet", shape),
        chunks=_unpack(given, "chunks", shape),
        granularity=_unpack(given, "granularity", shape),
        bound_slots=read.whole(given["bound_slots"], "bound_slots"),
        table_hash=document_hash(text),
    )
    _check_actions(table)
    return table


def _unpack(given: Mapping[str, Any], name: str, shape: list[int]) -> NDArray[Any]:
    kind = np.dtype(_ARRAYS[name])
    size = shape[0] * shape[1] * kind.itemsize
    encoded = read.text(given[name], name)
    try:
        inflate = zlib.decompressobj()
        packed = base64.b64decode(encoded, validate=True)
        raw = inflate.decompress(packed, size + 1)  # bounded: a table from outside must not fill the memory
    except (ValueError, zlib.error) as error:  # the former of base64, and of what is not ASCII
        raise PolicyError(name, f"is damaged ({error})") from None
    if len(raw) != size:
        raise PolicyError(name, f"must hold {shape[0]} x {shape[1]} entries")
    return np.frombuffer(raw, dtype=kind.newbyteorder("<")).astype(kind).reshape(shape)


def _check_actions(table: PlanTable) -> None:
    """No action may run nothing, more chunks than there are, or a granularity that is not there."""
    if table.granularity.max() >= len(table.granularities):
        raise PolicyError("granularity", f"must be below {len(table.granularities)}")
    if (table.chunks > np.arange(table.chunks.shape[1])).any():
        raise PolicyError("chunks", "must not exceed the chunks that wait")
    if (table.chunks[:, 1:] == 0).any():
        raise PolicyError("chunks", "must be at least 1 where something waits")
    if (table.unet[1:, 0] == 0).any() or table.unet[0].any():
        raise PolicyError("unet", "must run where nothing waits, and never with no active sample")


def plan_head(plan: Plan) -> dict[str, str]:
    """The plan's head as the flat hash that is written each second."""
    return {
        "format": str(FORMAT),
        "version": str(plan.version),
        "profile_id": plan.profile_id,
        "batch_cap": str(plan.batch_cap),
        "skip_above": str(plan.skip_above),
        "table_hash": plan.table_hash,
        "theta": "auto" if plan.theta is None else f"{plan.theta:.6f}",
        "price": "auto" if plan.price is None else f"{plan.price:.6f}",
        "reprofile": "1" if plan.reprofile else "0",
    }


def parse_plan(head: Mapping[str, str]) -> Plan:
    """The plan of a flat hash; raises :class:`PolicyError` naming the field that is wrong."""
    known = {name: head[name] for name in _HEAD_FIELDS if name in head}
    read.only(known, _HEAD_FIELDS, _HEAD_FIELDS)
    if known["format"] != str(FORMAT):
        raise PolicyError("format", f"must be {FORMAT}; got {known['format']!r:.40}")
    return Plan(
        version=_whole(known, "version"),
        profile_id=known["profile_id"],
        batch_cap=_whole(known, "batch_cap"),
        skip_above=_whole(known, "skip_above"),
        table_hash=known["table_hash"],
        theta=_number_or_auto(known, "theta"),
        price=_number_or_auto(known, "price"),
        reprofile=known["reprofile"] == "1",
    )


def _whole(head: Mapping[str, str], name: str) -> int:
    text = head[name]
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise PolicyError(name, f"must be a whole number; got {text!r:.40}")
    return int(text)


def _number_or_auto(head: Mapping[str, str], name: str) -> float | None:
    if head[name] == "auto":
        return None
    try:
        return read.number(float(head[name]), name, at_least=0.0)
    except ValueError as error:
        if isinstance(error, PolicyError):
            raise
        raise PolicyError(name, f"must be a number or auto; got {head[name]!r:.40}") from None


def plan_view(head: Mapping[str, str], table: str) -> PlanView:
    """A plan and its table, checked against each other."""
    plan, parsed = parse_plan(head), parse_table(table)
    if parsed.table_hash != plan.table_hash:
        raise PolicyError("table_hash", f"is {plan.table_hash}, but the table's is {parsed.table_hash}")
    if parsed.profile_id != plan.profile_id:
        raise PolicyError("profile_id", f"is {plan.profile_id}, but the table is for {parsed.profile_id}")
    return PlanView(plan, parsed)
