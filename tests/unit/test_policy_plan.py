"""Plans and tables: their wire forms, the default, the skip allowance."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from synerdiff.policy import (
    Plan,
    PolicyError,
    allows_skip,
    default_plan,
    parse_plan,
    parse_table,
    plan_head,
    plan_view,
    table_document,
)
from synerdiff.policy.planner import Planner
from synerdiff.policy.shipped import shipped_profile

VIEW = Planner(max_active=8, max_waiting=4).plan(
    shipped_profile("h100-sdxl-lcm-1024"), theta=0.95, version=7, skip_above=3
)
DOCUMENT = table_document(VIEW.table)
HEAD = plan_head(VIEW.plan)


def test_plan_and_table_survive_the_wire() -> None:
    read = plan_view(HEAD, DOCUMENT)
    assert read.plan == replace(VIEW.plan, price=read.plan.price)
    assert read.plan.price == pytest.approx(VIEW.plan.price, abs=1e-6)
    for name in ("unet", "chunks", "granularity"):
        np.testing.assert_array_equal(getattr(read.table, name), getattr(VIEW.table, name))
    assert read.table.table_hash == VIEW.table.table_hash
    assert (read.table.max_active, read.table.max_waiting) == (14, 4)


def test_theta_auto_survives_the_wire() -> None:
    plan = replace(VIEW.plan, theta=None, price=None)
    assert parse_plan(plan_head(plan)) == plan


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"version": "-1"}, "version"),
        ({"version": "x"}, "version"),
        ({"version": "9" * 5000}, "version"),
        ({"theta": "1.5"}, "theta"),
        ({"theta": "0"}, "theta"),
        ({"theta": "nan"}, "theta"),
        ({"price": "much"}, "price"),
        ({"batch_cap": "0"}, "batch_cap"),
        ({"format": "2"}, "format"),
        ({"table_hash": "other"}, "table_hash"),
        ({"profile_id": "other"}, "profile_id"),
    ],
)
def test_a_wrong_head_is_refused_by_field(change: dict[str, str], field: str) -> None:
    with pytest.raises(PolicyError) as raised:
        plan_view(HEAD | change, DOCUMENT)
    assert raised.value.field == field


def packed(values: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(zlib.compress(values.tobytes())).decode()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"format": 0}, "format"),
        ({"shape": [15]}, "shape"),
        ({"shape": [15, 66]}, "shape"),
        ({"shape": [10**9, 65]}, "shape"),
        ({"unet": "?"}, "unet"),
        ({"unet": "\u00e9"}, "unet"),
        ({"unet": 1}, "unet"),
        ({"unet": packed(np.zeros(3, np.uint8))}, "unet"),
        ({"unet": packed(np.zeros((15, 65), np.uint8))}, "unet"),
        ({"unet": packed(np.zeros((10**4, 10**4), np.uint8))}, "unet"),
        ({"chunks": packed(np.full((15, 65), 99, np.uint16))}, "chunks"),
        ({"chunks": packed(np.zeros((15, 65), np.uint16))}, "chunks"),
        ({"granularity": packed(np.full((15, 65), 3, np.uint8))}, "granularity"),
    ],
)
def test_a_wrong_table_is_refused_by_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(PolicyError) as raised:
        parse_table(json.dumps(json.loads(DOCUMENT) | change))
    assert raised.value.field == field


@pytest.mark.parametrize("document", [b"\xff", "[" * 100_000, "", "[]"])
def test_what_is_no_table_is_refused(document: str | bytes) -> None:
    with pytest.raises(PolicyError):
        parse_table(document)


def test_what_a_newer_scheduler_adds_to_a_plan_is_ignored() -> None:
    document = json.dumps(json.loads(DOCUMENT) | {"colour": 1})
    table = parse_table(document)
    head = plan_head(replace(VIEW.plan, table_hash=table.table_hash)) | {"colour": "1"}
    found = plan_view(head, document)
    assert found.table.action(4, 0) == VIEW.table.action(4, 0)
    assert found.plan.batch_cap == VIEW.plan.batch_cap


def test_the_default_plan_decodes_alone_and_at_once() -> None:
    view = default_plan(6)
    assert view.version == 0
    assert view.batch_cap == 6
    assert not view.action(4, 3).run_unet
    assert view.action(4, 3).chunks == 1
    assert view.action(4, 0).run_unet
    assert not view.action(0, 0).run_unet


def test_the_skip_allowance_by_quality_class() -> None:
    view = replace(VIEW, plan=Plan(1, "p", batch_cap=8, skip_above=3, table_hash="t"))
    assert [view.allows_skip("balanced", jobs) for jobs in (0, 3, 4)] == [False, False, True]
    assert [view.allows_skip("fast", jobs) for jobs in (0, 3, 4)] == [True] * 3
    assert not any(allows_skip("exact", jobs, 0) for jobs in range(100))
