"""``synerdiff plan show``: the plan in force, or the plan that a profile would get, slot by slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from synerdiff.cli.console import out, print_json

if TYPE_CHECKING:
    from synerdiff.policy import PlanView, Profile

EPILOG = """[bold]Examples[/bold]

[cyan]synerdiff plan show[/cyan]                                           what the running fleet follows

[cyan]synerdiff plan show --profile h100-sdxl-lcm-1024 --theta 0.97[/cyan]   what this profile would get

[cyan]synerdiff plan show --profile h100-sdxl-1024 --json > plan.json[/cyan]   to replay: simulate --plan plan.json

A plan says, for each slot, what runs: the UNet batch and how many chunks of decodes beside it. The scheduler makes \
one for each profile of each pool, and the workers follow it.
"""

app = typer.Typer(help="Look at concurrency plans.", no_args_is_help=True, epilog=EPILOG)


@app.callback()
def plan() -> None:
    """Look at concurrency plans."""


@app.command(epilog=EPILOG)
def show(
    profile: Annotated[
        str | None, typer.Option(help="a shipped profile or a file; without: the running fleet's")
    ] = None,
    theta: Annotated[str, typer.Option(help="with --profile: auto, or a number in (0, 1]")] = "auto",
    active: Annotated[int | None, typer.Option(min=1, help="samples in the batch; without: the batch cap")] = None,
    slots: Annotated[int, typer.Option(min=1, help="how many slots to draw")] = 12,
    as_json: Annotated[bool, typer.Option("--json", help="print head and table instead, for simulate --plan")] = False,
) -> None:
    """Draw the slots of a plan: the UNet call's rows with the decode chunks beside them."""
    from synerdiff.cli.extras import require

    require("scheduler")
    from synerdiff.cli import policy_input as given

    if profile is None:
        view, measured = _in_force()
    else:
        measured = given.read_profile(profile)
        with given.told():
            view = _planned(measured, theta)
    if as_json:
        from synerdiff.policy import plan_head, table_document

        print_json({"head": plan_head(view.plan), "table": table_document(view.table)})
        return
    _print(view, measured, active, slots)


def _planned(profile: Profile, theta: str) -> PlanView:
    from synerdiff.cli.policy_input import read_theta
    from synerdiff.policy import PolicyError
    from synerdiff.policy.planner import Planner
    from synerdiff.policy.steering import Load, Steering

    mode = read_theta(theta)
    if isinstance(mode, str) and mode != "auto":
        raise PolicyError("theta", "must be auto or a number here: the controller needs a load")
    planner = Planner()
    ratings = planner.ratings(profile)
    chosen = None if mode == "auto" else float(mode)
    return planner.plan(
        ratings, theta=chosen, version=1, skip_above=Steering(ratings).target(Load(0, 0, 0.0, 0.0, 1)).skip_above
    )


def _in_force() -> tuple[PlanView, Profile | None]:
    """The plan of the first live worker of the model's pool, and its profile if one is published."""
    from synerdiff.cli.policy_input import told
    from synerdiff.ledger import Ledger
    from synerdiff.policy import parse_profile, plan_view
    from synerdiff.protocol import pool_of
    from synerdiff.protocol.errors import PlanError
    from synerdiff.settings import load

    settings = load()
    ledger, pool = Ledger.connect(settings.redis_url), pool_of(settings.model)
    for report in ledger.workers(pool):
        head = ledger.get_plan(pool, report.profile_id)
        table = ledger.get_table(head.get("table_hash", "")) if head else None
        if head and table:
            document = ledger.get_profile(report.profile_id)
            with told():
                return plan_view(head, table), parse_profile(document) if document else None
    raise PlanError(f"no plan is in force for pool {pool}: it needs a worker and the scheduler running")


def _print(view: PlanView, profile: Profile | None, active: int | None, slots: int) -> None:
    from synerdiff.policy.cost import CostModel
    from synerdiff.policy.draw import draw, saturated_slots

    for name, value in _facts(view).items():
        out.print(f"{name:>16}  {value}")
    if profile is None or profile.profile_id != view.plan.profile_id:
        out.print("no profile is published, so slots have no times: every decode runs alone and at once")
        return
    cost = CostModel(profile)
    samples = min(active or view.batch_cap, view.table.max_active)
    drawn = saturated_slots(cost, view, active=samples, steps=profile.steps, count=slots)
    out.print(
        f"\n{samples} samples of {profile.steps} steps, finishing evenly ({profile.model} on {profile.device}):\n"
    )
    for line in draw(drawn, cost.chunks_per_decode):
        out.print(line, soft_wrap=True)


def _facts(view: PlanView) -> dict[str, Any]:
    plan = view.plan
    return {
        "version": plan.version,
        "profile": plan.profile_id or "none (built-in default)",
        "theta": "auto: each slot is priced by the jobs it delays" if plan.theta is None else f"{plan.theta:.3f}",
        "price": "-" if plan.price is None else f"{plan.price:.2f} jobs",
        "batch cap": f"{plan.batch_cap} samples",
        "balanced skips": f"while more than {plan.skip_above} jobs are in the system"
        if plan.skip_above
        else "from the first job on",
        "age bound": f"{view.table.bound_slots} UNet calls",
        "table": f"{plan.table_hash}: {view.table.max_active} active x {view.table.max_waiting} waiting images",
    }
