"""Following jobs to their end, with a progress bar on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from synerdiff.cli.console import err
from synerdiff.client import Client, JobView
from synerdiff.protocol.errors import Unavailable, WaitTimeout

POLL_S = 0.1
RETRY_S = 0.5
PATIENCE_S = 60.0

Seen = Callable[[JobView], None]


def follow(client: Client, ids: Sequence[str], *, seen: Seen, timeout_s: float | None = None) -> Iterator[JobView]:
    """Yield every job's final view, in the order of ``ids``; ``seen`` hears of each look at an open job.

    A Redis that goes away is waited for. Raises :class:`Unavailable` when it stays away for a minute,
    :class:`WaitTimeout` when ``timeout_s`` passes first (the jobs go on).
    """
    started = time.monotonic()
    ended: dict[str, JobView] = {}
    for job_id in ids:
        while job_id not in ended:
            open_ids = [each for each in ids if each not in ended]
            views = _patiently(lambda open_ids=open_ids: client.backend.views(open_ids))  # type: ignore[misc]
            for view in views.values():
                seen(view)
                if view.state.final:
                    ended[view.id] = view
            if job_id in ended:
                break
            if timeout_s is not None and time.monotonic() - started > timeout_s:
                raise WaitTimeout(
                    f"{len(open_ids)} of {len(ids)} jobs have not ended after {timeout_s:g} s; they go on"
                )
            time.sleep(POLL_S)
        yield ended[job_id]


def _patiently(look: Callable[[], dict[str, JobView]]) -> dict[str, JobView]:
    deadline = time.monotonic() + PATIENCE_S
    said = False
    while True:
        try:
            return look()
        except Unavailable as error:
            if time.monotonic() > deadline:
                raise
            if not said:
                message = f"{error.message}; trying for {PATIENCE_S:g} s"
                err.print(message, style="yellow", soft_wrap=True)
            said = True
            time.sleep(RETRY_S)


@contextmanager
def step_bars(names: dict[str, str]) -> Iterator[Seen]:
    """Bars of denoising steps, one for each job (``names`` by id); the value is what ``follow`` tells."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        whole = progress.add_task("all", total=len(names))
        bars = {job_id: progress.add_task(name, start=False, total=None) for job_id, name in names.items()}

        def seen(view: JobView) -> None:
            bar = bars[view.id]
            if view.state.final:
                progress.remove_task(bar)
                progress.advance(whole)
            elif view.step:
                progress.start_task(bar)
                progress.update(bar, completed=view.step, total=view.job.steps)

        yield seen
