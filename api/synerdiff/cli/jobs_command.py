"""``synerdiff jobs``: look at, cancel and retry jobs by hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from synerdiff.cli.console import FAILED, err, out, print_json

if TYPE_CHECKING:
    from synerdiff.protocol import JobState, JobView

EPILOG = """
[bold]Examples[/bold]

  synerdiff jobs list --state running
  synerdiff jobs show 01J9ZK3M5T --urls
  synerdiff jobs dead --json | jq -r .id | xargs synerdiff jobs retry

A dead job used up its attempts: it crashed its worker each time it ran alone. [bold]jobs show[/bold] says why.
"""

app = typer.Typer(help="Look at jobs, cancel them, and retry dead ones.", no_args_is_help=True, epilog=EPILOG)

AsJson = Annotated[bool, typer.Option("--json", help="one JSON object a line")]
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="ids of jobs")]


@app.command("list")
def list_jobs(
    state: Annotated[
        str | None,
        typer.Option(help="only jobs in this state: queued, running, succeeded, failed, cancelled, expired or dead"),
    ] = None,
    model: Annotated[str | None, typer.Option(help="only jobs of this model")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="at most so many")] = 50,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first: of any state or, with --state, of one."""
    from synerdiff.client import Client
    from synerdiff.protocol import pool_of

    wanted = _state(state)
    with Client() as client:
        pool = pool_of(model) if model else None
        _show_many(client.backend.ledger.list_jobs(state=wanted, pool=pool, limit=limit), as_json)


@app.command()
def dead(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="at most so many")] = 50, as_json: AsJson = False
) -> None:
    """List the jobs that used up their attempts, with the reason; `jobs retry` gives them another chance."""
    list_jobs("dead", None, limit, as_json)


@app.command()
def show(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="a job's id")],
    urls: Annotated[bool, typer.Option("--urls", help="with a presigned URL for each image")] = False,
    as_json: AsJson = False,
) -> None:
    """Show all that is known of one job."""
    from synerdiff.client import Client

    with Client() as client:
        document = client.get(job_id, urls=urls).model_dump(mode="json")
    if as_json:
        print_json(document)
    else:
        out.print_json(data=document)


@app.command()
def cancel(ids: Ids, as_json: AsJson = False) -> None:
    """Cancel jobs; those that have ended stay as they are."""
    from synerdiff.client import Client

    with Client() as client:
        _each(ids, client.cancel, as_json)


@app.command()
def delete(ids: Ids, as_json: AsJson = False) -> None:
    """Delete jobs that have ended, with their images in the object store; `jobs cancel` ends an open one."""
    from synerdiff.client import Client

    with Client() as client:
        _each(ids, client.delete, as_json)


@app.command()
def retry(ids: Ids, as_json: AsJson = False) -> None:
    """Queue dead or failed jobs again, with their attempts given back."""
    from synerdiff.client import Client

    with Client() as client:

        def again(job_id: str) -> JobView:
            view = client.get(job_id)
            submission = client.backend.ledger.retry(job_id)
            client.backend.ring(client.backend.catalogue.pool(view.job.model), submission.released)
            return client.get(job_id)

        _each(ids, again, as_json)


def _state(name: str | None) -> JobState | None:
    from synerdiff.cli.job_input import wrong
    from synerdiff.protocol import JobState

    if name is not None and name not in list(JobState):
        raise wrong("state", f"--state must be one of {', '.join(JobState)}; got {name!r}")
    return JobState(name) if name else None


def _each(ids: Sequence[str], act: Callable[[str], JobView], as_json: bool) -> None:
    """Do the same to each job; one that cannot be helped does not keep the others from it."""
    from synerdiff.protocol.errors import SynerDiffError

    failed = False
    for job_id in ids:
        try:
            view = act(job_id)
        except SynerDiffError as error:
            err.print(error.message, style="red", soft_wrap=True)
            failed = True
            continue
        if as_json:
            print_json(view.model_dump(mode="json"))
        else:
            out.print(f"{view.id} {view.state.value}", soft_wrap=True)
    if failed:
        raise typer.Exit(FAILED)


def _show_many(views: Sequence[JobView], as_json: bool) -> None:
    if as_json:
        for view in views:
            print_json(view.model_dump(mode="json"))
        return
    table = Table(Column("id", no_wrap=True), "state", "step", "age", "attempts", Column("what", ratio=1))
    for view in views:
        what = view.error.message if view.error else view.job.prompt
        step = f"{view.step}/{view.job.steps}"
        age = f"{time.time() - view.created_at:.0f} s"
        table.add_row(view.id, view.state.value, step, age, str(view.attempts), what[:60])
    out.print(table)
