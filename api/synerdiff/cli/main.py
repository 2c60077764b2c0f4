"""The ``synerdiff`` command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from synerdiff.cli import (
    acl_command,
    bench_command,
    demo_command,
    doctor_command,
    fidelity_command,
    generate_command,
    jobs_command,
    plan_command,
    pools_command,
    profile_command,
    service_commands,
    simulate_command,
    up_command,
    weights_command,
)
from synerdiff.cli.console import FAILED, exit_code, out, print_error

RUN = "Run a fleet"
USE = "Use a fleet"
STUDY = "Measure and plan"

app = typer.Typer(
    name="synerdiff",
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    epilog="Settings are variables SYNERDIFF_...: [bold]synerdiff doctor --settings[/bold] lists them.",
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        out.print(f"synerdiff {version('synerdiff')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version and exit")
    ] = False,
) -> None:
    """A message-queue-driven image-generation fleet for diffusion models.

    New here? [bold]synerdiff demo[/bold] starts everything on this machine, makes images, and cleans up after itself.
    """


app.command(rich_help_panel=RUN, epilog=demo_command.EPILOG)(demo_command.demo)
app.command(rich_help_panel=RUN, epilog=up_command.EPILOG)(up_command.up)
app.command(rich_help_panel=RUN, epilog=service_commands.WORKER_EPILOG)(service_commands.worker)
app.command(rich_help_panel=RUN, epilog=service_commands.SCHEDULER_EPILOG)(service_commands.scheduler)
app.command(rich_help_panel=RUN, epilog=service_commands.GATEWAY_EPILOG)(service_commands.gateway)
app.command(rich_help_panel=RUN, epilog=service_commands.FLOWER_EPILOG)(service_commands.flower)
app.command(rich_help_panel=RUN, epilog=acl_command.EPILOG)(acl_command.acl)
app.command(rich_help_panel=USE, epilog=generate_command.EPILOG)(generate_command.generate)
app.add_typer(jobs_command.app, name="jobs", rich_help_panel=USE)
app.add_typer(pools_command.app, name="pools", rich_help_panel=RUN)
app.command(rich_help_panel=USE, epilog=doctor_command.EPILOG)(doctor_command.doctor)
app.command(rich_help_panel=RUN, epilog=weights_command.EPILOG)(weights_command.weights)
app.command(rich_help_panel=STUDY, epilog=profile_command.EPILOG)(profile_command.profile)
app.command(rich_help_panel=STUDY, epilog=bench_command.EPILOG)(bench_command.bench)
app.command(rich_help_panel=STUDY, epilog=simulate_command.EPILOG)(simulate_command.simulate)
app.command(rich_help_panel=STUDY, epilog=fidelity_command.EPILOG)(fidelity_command.fidelity)
app.add_typer(plan_command.app, name="plan", rich_help_panel=STUDY)


def main() -> None:
    """Run the command; an expected error is one sentence on standard error, never a traceback."""
    try:
        app()
    except BrokenPipeError:  # whoever read our output has gone
        sys.exit(FAILED)
    except Exception as error:
        from synerdiff.protocol.errors import SynerDiffError  # here, since `--help` must not wait for pydantic

        if not isinstance(error, SynerDiffError):
            raise
        print_error(error.message)
        sys.exit(exit_code(error))
