"""``synerdiff simulate``: a fleet in virtual time, from a trace or for a rate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synerdiff.cli.console import out
from synerdiff.cli.vocabulary import POLICIES

if TYPE_CHECKING:
    from synerdiff.policy.profile import Profile
    from synerdiff.policy.simulator import SimJob

EPILOG = f"""[bold]Examples[/bold]

[cyan]synerdiff simulate --profile h100-sdxl-1024 --rate 3 --gpus 4 --slo 10[/cyan]   does it hold? how many GPUs would?

[cyan]synerdiff simulate --trace day.jsonl --profile mine.json --policies static,synerdiff --json out.json[/cyan]

Profiles: h100-sdxl-1024, h100-sdxl-lcm-1024, a100-sd15-512 (assumed, each file says what), cpu-tiny-emoji-128, \
or a file of [bold]synerdiff profile --json[/bold]. A trace is a job a line with \
[bold]at[/bold], its arrival in seconds.

{POLICIES}

Theta, the share of the best sustainable UNet rate that decodes must leave: profile (what wins for the profile: auto \
or controller), auto (each slot priced by the jobs it delays), controller (moved by the load), queue (the highest as \
soon as a job waits, a plain rule to compare with), or a number.
"""


def simulate(
    trace: Annotated[Path | None, typer.Option(help="jobs to replay, a job a line with `at`")] = None,
    rate: Annotated[float | None, typer.Option(help="instead: Poisson arrivals, jobs a second")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="how many of them")] = 1000,
    steps: Annotated[
        str | None, typer.Option(help="their denoising steps, comma-separated; the profile's if empty")
    ] = None,
    seed: Annotated[int, typer.Option(help="their seed")] = 0,
    closed: Annotated[bool, typer.Option("--closed", help="saturation: every job is there at the start")] = False,
    profile: Annotated[str, typer.Option(help="a shipped profile or a file")] = "h100-sdxl-1024",
    gpus: Annotated[int, typer.Option(min=1, help="devices")] = 1,
    policies: Annotated[str, typer.Option(help="comma-separated, or all; they are named below")] = "all",
    theta: Annotated[
        str, typer.Option(help="profile, auto, controller, queue or a number in (0, 1]; see below")
    ] = "profile",
    skip_from: Annotated[str, typer.Option(help="when balanced skips: start (the first job) or load")] = "start",
    plan: Annotated[Path | None, typer.Option(help="replay this recorded plan instead of planning")] = None,
    slo: Annotated[
        float | None,
        typer.Option(help="seconds that P99 E2E latency may take; finds how many GPUs each policy needs for it"),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="write the figures here, - for standard output")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="draw them here (PNG)")] = None,
) -> None:
    """Simulate policies in virtual time, with the code that plans for the running fleet."""
    from synerdiff.cli.extras import require

    require("scheduler")
    from synerdiff.cli import policy_input as given
    from synerdiff.cli.outputs import check_outputs
    from synerdiff.policy.allowance import check_skip_from
    from synerdiff.policy.simulator import Scenario

    check_outputs(json_file=json_file, plot=plot)

    measured = given.read_profile(profile)
    replayed = given.read_plan(plan) if plan else None
    with given.told():
        scenario = Scenario(
            measured,
            gpus=gpus,
            theta=given.read_theta(theta),
            plan=replayed,
            skip_from=check_skip_from(skip_from),
        )
        workload = _workload(trace, rate, jobs, steps, seed, closed, measured)
        found = _run(policies, workload, scenario, slo)
    _write(found, json_file, plot)


def _workload(
    trace: Path | None, rate: float | None, count: int, steps: str | None, seed: int, closed: bool, profile: Profile
) -> list[SimJob]:
    from dataclasses import replace

    from synerdiff.cli.policy_input import read_trace
    from synerdiff.policy import PolicyError
    from synerdiff.policy.simulator import Mix, at_once, poisson

    if trace is not None:
        read = read_trace(trace)
        return [replace(job, at=0.0) for job in read] if closed else read
    mix = Mix(_steps(steps) or (profile.steps,), guidance_scale=5.0 if profile.rows_per_sample == 2 else 1.0)
    if closed:
        return at_once(count, mix, seed=seed)
    if rate is None:
        raise PolicyError("trace", "is missing: give --trace, --rate or --closed")
    return poisson(rate, count, mix, seed=seed)


def _steps(given: str | None) -> tuple[int, ...]:
    from synerdiff.policy import PolicyError

    if not given:
        return ()
    parts = [part.strip() for part in given.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise PolicyError("steps", f"must be whole numbers of at least 1, comma-separated; got {given!r:.40}")
    return tuple(int(part) for part in parts)


def _run(policies: str, workload: list[SimJob], scenario: Any, slo: float | None) -> dict[str, Any]:
    from synerdiff.policy import simulator
    from synerdiff.policy.planner import Planner
    from synerdiff.policy.simulator.capacity import check_slo, gpus_needed, meets
    from synerdiff.policy.simulator.report import document

    check_slo(slo)
    names = simulator.POLICIES if policies == "all" else _named(policies)
    planner = Planner()
    outcomes = [simulator.simulate(name, workload, scenario, planner) for name in names]
    found = document(outcomes, scenario, {"jobs": len(workload)} | ({"slo_s": slo} if slo is not None else {}))
    if slo is not None:
        for row, outcome in zip(found["policies"], outcomes, strict=True):
            row["slo_met"] = meets(outcome, slo)
            row["gpus_needed"] = gpus_needed(outcome.policy, workload, scenario, slo, planner)
    return found


def _named(policies: str) -> tuple[str, ...]:
    from synerdiff.policy.simulator import check_policies

    return check_policies([name.strip() for name in policies.split(",")])


def _write(found: dict[str, Any], json_file: Path | None, plot: Path | None) -> None:
    from synerdiff.cli.outputs import write_json

    if not write_json(found, json_file):
        _show(found)
    if plot is not None:
        from synerdiff.cli.simulate_plot import draw_bars

        draw_bars(found, plot)


def _show(found: dict[str, Any]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from synerdiff.policy.simulator.report import table

    header, *rows = table(found)
    shown = Table(title=f"{found['machine']}, {found['model']}, virtual seconds", box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
    for name in header:
        shown.add_column(name, no_wrap=name == "policy", justify="left" if name == "policy" else "right")
    for row in rows:
        shown.add_row(*row)
    out.print(shown)
    for assumption in found["assumptions"]:
        out.print(f"- {assumption}", style="dim")
