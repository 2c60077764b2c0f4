"""The simulator: virtual time adds up, policies order as they must, wrong input is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from synerdiff.policy import PolicyError, default_plan
from synerdiff.policy.planner import Planner
from synerdiff.policy.shipped import shipped_profile
from synerdiff.policy.simulator import (
    POLICIES,
    Mix,
    Scenario,
    SimJob,
    at_once,
    burst,
    evenly,
    parse_trace,
    percentile,
    poisson,
    simulate,
    summary,
)
from synerdiff.policy.simulator.capacity import gpus_needed
from synerdiff.policy.width import Width

SDXL = shipped_profile("h100-sdxl-1024")
LCM = shipped_profile("h100-sdxl-lcm-1024")
CPU = shipped_profile("cpu-tiny-emoji-128")
PLANNER = Planner(max_active=16, max_waiting=32)
MIXED = Mix(steps=(4, 8, 25, 50), n=2)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_job_ends_once_with_every_row_counted(policy: str) -> None:
    jobs = poisson(1.0, 60, MIXED, seed=3)
    found = simulate(policy, jobs, Scenario(CPU, gpus=2), PLANNER)
    assert found.images == 120
    assert len(found.vae_s) == 120
    assert all(latency > 0.0 for latency in found.e2e_s)
    assert found.rows_run + found.rows_skipped == sum(2 * job.n * job.steps for job in jobs)
    assert all(end >= job.at for end, job in zip(found.finished_at, jobs, strict=True))


@pytest.mark.parametrize("policy", POLICIES)
def test_a_lone_job_takes_what_the_profile_says(policy: str) -> None:
    found = simulate(policy, [SimJob(0.0, steps=30, quality="exact")], Scenario(SDXL), PLANNER)
    expected = SDXL.encode_s + 30 * SDXL.unet_s[1] + SDXL.granularities[0].decode_s
    if policy in ("synerdiff", "synerdiff-fast"):  # they skip from the first job on
        assert found.rows_skipped > 0
        assert found.e2e_s[0] < expected
    else:
        assert found.e2e_s[0] == pytest.approx(expected, rel=0.01)


def test_the_same_input_gives_the_same_output() -> None:
    jobs = poisson(0.8, 100, Mix(steps=(30,)), seed=5)
    first, second = (simulate("synerdiff", jobs, Scenario(SDXL), PLANNER).row() for _ in range(2))
    assert first == second
    json.dumps(first, allow_nan=False)


def test_synerdiff_holds_where_the_others_fall_behind() -> None:
    """LCM at 0.9 of the best sustainable rate: decoding in between costs the capacity that overlap keeps."""
    jobs = poisson(0.9 * PLANNER.ratings(LCM).curve.best_rate, 800, Mix(steps=(4,), guidance_scale=1.0), seed=1)
    mean = {name: summary(simulate(name, jobs, Scenario(LCM), PLANNER).e2e_s)["mean"] for name in POLICIES}
    assert mean["synerdiff-exact"] < 0.5 * mean["continuous"]
    assert mean["synerdiff-exact"] < mean["continuous-naive"]
    assert mean["continuous"] <= mean["diffusers"]


def test_skipping_raises_capacity_and_never_without_allowance() -> None:
    jobs = at_once(60, Mix(steps=(30,)))
    exact, balanced, fast = (
        simulate(name, jobs, Scenario(SDXL), PLANNER) for name in ("synerdiff-exact", "synerdiff", "synerdiff-fast")
    )
    assert exact.rows_skipped == 0
    assert 0 < balanced.rows_skipped < fast.rows_skipped
    assert exact.images_per_s < balanced.images_per_s < fast.images_per_s
    share = fast.rows_skipped / (60 * 30)
    assert share <= 0.60 + 1e-9  # four steps of five after a quarter of the steps


def test_without_load_balanced_skips_unless_it_waits_for_load() -> None:
    jobs = evenly(0.05, 10, Mix(steps=(30,)))
    skipping = simulate("synerdiff", jobs, Scenario(SDXL), PLANNER)
    waiting = simulate("synerdiff", jobs, Scenario(SDXL, skip_from="load"), PLANNER)
    assert waiting.rows_skipped == 0 < skipping.rows_skipped
    assert summary(skipping.e2e_s)["mean"] < summary(waiting.e2e_s)["mean"]


def test_a_fleet_that_waits_for_load_skips_all_the_same_under_it() -> None:
    jobs = at_once(200, Mix(steps=(30,)))
    skipping = simulate("synerdiff", jobs, Scenario(SDXL), PLANNER).rows_skipped
    waiting = simulate("synerdiff", jobs, Scenario(SDXL, skip_from="load"), PLANNER).rows_skipped
    assert 0.9 * skipping < waiting <= skipping


@pytest.mark.parametrize("cap", [1, 2, 14])
def test_a_forced_batch_cap_is_kept_above_and_below_the_planners_own(cap: int) -> None:
    found = simulate("synerdiff-exact", at_once(60, Mix(steps=(30,))), Scenario(SDXL, cap=cap), PLANNER)
    assert 0.8 * 2 * cap < found.rows_run / found.unet_calls <= 2 * cap


def test_urgent_jobs_go_first() -> None:
    jobs = [SimJob(0.0, steps=30, priority=5) for _ in range(40)] + [SimJob(0.0, steps=30, priority=9)]
    found = simulate("synerdiff-exact", jobs, Scenario(SDXL), PLANNER)
    assert found.e2e_s[40] <= min(found.e2e_s) + 1e-9


def test_devices_share_the_queue() -> None:
    jobs = at_once(80, Mix(steps=(30,)))
    one, four = (simulate("synerdiff-exact", jobs, Scenario(SDXL, gpus=gpus), PLANNER) for gpus in (1, 4))
    assert four.span_s < one.span_s / 3


def test_a_recorded_plan_is_replayed() -> None:
    jobs = poisson(0.6, 80, Mix(steps=(30,)), seed=2)
    recorded = default_plan(PLANNER.ratings(SDXL).batch_cap)
    replayed = simulate("synerdiff-exact", jobs, Scenario(SDXL, plan=recorded), PLANNER)
    assert replayed.e2e_s == simulate("continuous", jobs, Scenario(SDXL), PLANNER).e2e_s


def test_the_gpus_that_an_objective_needs() -> None:
    jobs = poisson(3.0, 200, Mix(steps=(30,)), seed=2)
    needed = gpus_needed("synerdiff", jobs, Scenario(SDXL), 8.0, PLANNER)
    assert needed is not None

    def p99(gpus: int) -> float:
        return percentile(simulate("synerdiff", jobs, Scenario(SDXL, gpus=gpus), PLANNER).e2e_s, 0.99)

    assert p99(needed) <= 8.0 < p99(needed - 1)
    assert gpus_needed("diffusers", [SimJob(0.0)], Scenario(SDXL), 0.1, PLANNER) is None


def test_a_burst_brings_more_jobs_while_it_lasts() -> None:
    jobs = burst(1.0, Mix(), factor=5.0, start_s=100.0, length_s=30.0, end_s=230.0, seed=4)
    inside = sum(100.0 <= job.at < 130.0 for job in jobs)
    assert 110 < inside < 200
    assert 130 < len(jobs) - inside < 270
    assert [job.at for job in jobs] == sorted(job.at for job in jobs)


@pytest.mark.parametrize(
    ("lines", "field"),
    [
        (['{"at": 1}', '{"at": 0.5}'], "line 2.at"),
        (['{"at": "x"}'], "line 1.at"),
        (['{"steps": 4}'], "line 1.at"),
        (['{"at": 0}', "", '{"at": 1, "stepz": 4}'], "line 3.stepz"),
        (['{"at": 0, "steps": 0}'], "line 1.steps"),
        (['{"at": 0, "n": 1.5}'], "line 1.n"),
        (['{"at": 0, "quality": "best"}'], "line 1.quality"),
        (['{"at": 0, "guidance_scale": NaN}'], "line 1.guidance_scale"),
        (["[1]"], "line 1"),
        (["nonsense"], "line 1"),
        (["[" * 100_000], "line 1"),
        (['{"at": 1' + "0" * 400 + "}"], "line 1.at"),
        (['{"at": 0, "steps": 1000000000}'], "line 1.steps"),
        ([], "trace"),
    ],
)
def test_a_wrong_trace_names_line_and_field(lines: list[str], field: str) -> None:
    with pytest.raises(PolicyError) as raised:
        parse_trace(lines)
    assert raised.value.field == field


def test_a_trace_may_begin_at_any_time() -> None:
    late = 1.8e9  # seconds: a trace whose times are those of a clock
    found = simulate("synerdiff", [SimJob(late), SimJob(late + 1.0)], Scenario(CPU), PLANNER)
    assert len(found.control) < 10
    assert found.span_s < 60.0


def test_null_fields_and_fields_without_time_are_taken() -> None:
    (job,) = parse_trace(['{"at": 2, "prompt": "a boat", "steps": null, "guidance_scale": 1.0, "seed": 4}'])
    assert (job.at, job.steps, job.rows) == (2, 25, 1)


def test_other_wrong_input_is_refused_by_field() -> None:
    jobs = [SimJob(0.0)]
    for policy, change, field in (
        ("best", {}, "policies"),
        ("synerdiff", {"gpus": 0}, "gpus"),
        ("synerdiff", {"theta": 1.5}, "theta"),
    ):
        with pytest.raises(PolicyError) as raised:
            simulate(policy, jobs, replace(Scenario(CPU), **change), PLANNER)
        assert raised.value.field == field
    with pytest.raises(PolicyError, match="width"):
        simulate("continuous", [SimJob(0.0, width=512, height=512)], Scenario(CPU), PLANNER)
    with pytest.raises(PolicyError, match="rate"):
        poisson(0.0, 1, Mix())


def test_samples_that_skip_leave_room_in_the_call() -> None:
    width = Width()
    assert width.samples(8) == 8
    for _ in range(100):
        width.ran(rows=10, full=16)
    assert width.samples(8) == 13
    for _ in range(100):
        width.ran(rows=16, full=16)
    assert width.samples(8) == 8


def test_few_rows_with_an_exact_image_take_what_the_profile_says_of_them() -> None:
    plain = replace(CPU, exact_s=())
    dearer = replace(CPU, exact_s=tuple(s + 0.01 for s in CPU.unet_s[:2]))
    jobs = [SimJob(0.0, steps=10, quality="exact")]
    for policy, slots in (("continuous", 10), ("synerdiff-exact", 10), ("synerdiff", 0)):
        before, after = (simulate(policy, jobs, Scenario(each), PLANNER).e2e_s[0] for each in (plain, dearer))
        assert after - before == pytest.approx(0.01 * slots), policy
