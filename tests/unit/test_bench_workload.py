"""Traces: what is refused, and what is drawn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from synerdiff.bench.pipeline import Batching, next_batch
from synerdiff.bench.suite import check_policies
from synerdiff.bench.tune import BatchTime, best_batching, replay
from synerdiff.bench.workload import Arrival, load_trace, make_trace, read_trace
from synerdiff.engine.types import Request
from synerdiff.protocol import Limits, ModelEntry
from synerdiff.protocol.errors import TraceError

ENTRY = ModelEntry(name="tiny", pool="tiny")


def parse(*lines: object) -> list[Arrival]:
    return read_trace([json.dumps(line) for line in lines], limits=Limits(), entry=ENTRY)


def request(job_id: str, *, steps: int = 10, n: int = 1) -> Request:
    return Request(job_id, "a", "", 128, 128, steps, 5.0, "ddim", 1, n, "exact")


@pytest.mark.parametrize(
    ("lines", "field", "words"),
    [
        ([{"prompt": "a"}], "at", "line 1"),
        ([{"at": 1, "prompt": "a"}, {"at": 0.5, "prompt": "a"}], "at", "backwards; got 0.5 after 1.0"),
        ([{"at": -1, "prompt": "a"}], "at", "got -1"),
        ([{"at": "0", "prompt": "a"}], "at", "got '0'"),
        ([{"at": True, "prompt": "a"}], "at", "got True"),
        ([{"at": 0, "prompt": "a", "steps": 0}], "steps", "line 1: steps must be at least 1; got 0"),
        ([{"at": 0, "prompt": "a", "colour": "red"}], "colour", "colour is not a field"),
        ([{"at": 10**400, "prompt": "a"}], "at", "at .line 1. must be seconds from 0"),
        ([{"at": 0, "id": "x", "prompt": "a"}, {"at": 1, "id": "x", "prompt": "b"}], "id", "line 2.*line 1 has 'x'"),
        ([[1]], "line", "must be a JSON object; got list"),
        ([], "trace", "no jobs"),
    ],
)
def test_a_wrong_trace_is_refused_with_line_and_field(lines: list[object], field: str, words: str) -> None:
    with pytest.raises(TraceError, match=words) as caught:
        parse(*lines)
    assert caught.value.field == field


def test_a_line_that_is_not_json_is_named() -> None:
    with pytest.raises(TraceError, match="line 2 is not JSON"):
        read_trace(['{"at": 0, "prompt": "a"}', "{"], limits=Limits(), entry=ENTRY)
    with pytest.raises(TraceError, match="line 1 is not JSON"):
        read_trace(["[" * 100_000], limits=Limits(), entry=ENTRY)


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(TraceError, match="it is not UTF-8 text"):
        load_trace(path, limits=Limits(), entry=ENTRY)


def test_a_prompt_may_hold_a_line_separator(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text('{"at": 0, "prompt": "a\u2028b"}\n{"at": 1, "prompt": "c"}\n', encoding="utf-8")
    found = load_trace(path, limits=Limits(), entry=ENTRY)
    assert [arrival.request.prompt for arrival in found] == ["a\u2028b", "c"]


def test_times_count_from_the_first_job_and_null_is_not_given() -> None:
    first, second = parse({"at": 1.8e9, "prompt": "a", "seed": None}, {"at": 1.8e9 + 2, "prompt": "a", "steps": None})
    assert (first.at, second.at) == (0.0, 2.0)
    assert (first.request.seed, second.request.seed) == (1, 2)


def test_a_drawn_trace_reads_back_and_repeats_with_its_seed() -> None:
    drawn = make_trace("mixed", 30, rate=2.0, seed=7, burst=5.0)
    assert drawn == make_trace("mixed", 30, rate=2.0, seed=7, burst=5.0)
    assert drawn != make_trace("mixed", 30, rate=2.0, seed=8, burst=5.0)
    arrivals = parse(*drawn)
    assert len({(item.request.steps, item.request.sampler) for item in arrivals}) > 8


def test_a_burst_squeezes_the_middle_third() -> None:
    drawn = [line["at"] for line in make_trace("uniform", 300, rate=1.0, seed=1, burst=10.0)]
    middle, first = drawn[199] - drawn[100], drawn[99] - drawn[0]
    assert middle < first / 4


def test_an_unknown_policy_is_named_and_the_reference_always_runs() -> None:
    assert check_policies(["synerdiff"]) == ("diffusers", "synerdiff")
    with pytest.raises(TraceError, match="got 'magic'"):
        check_policies(["magic"])


def test_a_batch_takes_what_agrees_with_the_oldest_up_to_the_cap() -> None:
    waiting = [request("a"), request("b", steps=4), request("c", n=2), request("d", n=2), request("e")]
    assert [item.job_id for item in next_batch(waiting, 4)] == ["a", "c", "e"]
    assert [item.job_id for item in next_batch([request("big", n=9)], 4)] == ["big"]


def test_tuning_finds_that_batches_pay_or_do_not() -> None:
    trace = [Arrival(0.0, request(str(index))) for index in range(16)]
    pays = {cap: BatchTime(0.0, 0.1 * cap**0.5) for cap in (1, 2, 4, 8, 16)}
    assert best_batching(trace, pays, closed=True).cap == 16
    costs = {cap: BatchTime(0.0, 0.1 * cap**1.2) for cap in (1, 2, 4, 8, 16)}
    assert best_batching(trace, costs, closed=True).cap == 1


def test_a_window_delays_the_first_job_and_is_counted() -> None:
    trace = [Arrival(0.0, request("a")), Arrival(10.0, request("b"))]
    times = {cap: BatchTime(1.0, 0.0) for cap in (1, 2)}
    assert replay(trace, Batching(2, 0.0), times) == (11.0, 1.0)
    assert replay(trace, Batching(2, 2.0), times) == (11.0, 2.0)
