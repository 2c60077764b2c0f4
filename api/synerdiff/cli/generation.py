"""The work of ``synerdiff generate``: submit, follow, deliver; or repeat from a receipt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from synerdiff.cli.console import err, out, print_json
from synerdiff.cli.follow import follow, step_bars
from synerdiff.cli.job_input import by_line, read_jobs, wrong
from synerdiff.cli.replay import replay
from synerdiff.client import Client, JobView
from synerdiff.protocol.errors import InvalidJob, SynerDiffError, Unavailable


def job_fields(path: Path | None, fields: dict[str, Any]) -> list[dict[str, Any]]:
    """The jobs that were asked for: those of the file, with the options as their defaults, or one of options."""
    if path is None:
        if "prompt" not in fields:
            raise wrong("prompt", "prompt is required: give a PROMPT, or a file of jobs with --jobs")
        return [fields]
    for field in ("prompt", "id"):
        if field in fields:
            raise wrong(field, f"{field} cannot be given together with --jobs: every line of the file has its own")
    return read_jobs(path, fields)


def run(source: Path | None, fields: dict[str, Any], out_dir: Path, as_json: bool, timeout_s: float | None) -> bool:
    """Submit the jobs of a file (with ``fields`` as defaults) or the one of ``fields``, and deliver their images.

    Whether all have their images. Raises :class:`InvalidJob` (nothing was submitted then), :class:`Unavailable`,
    :class:`WaitTimeout`.
    """
    jobs = job_fields(source, fields)
    with _client() as client:
        ids = _submit(client, jobs, source)
        failed = 0
        with step_bars(_names(ids, jobs)) as seen:
            for view in follow(client, ids, seen=seen, timeout_s=timeout_s):
                failed += not _deliver(client, view, out_dir, as_json)
    if failed:
        err.print(f"{failed} of {len(ids)} jobs have no images", style="bold red")
    return not failed


def _client() -> Client:
    try:
        return Client()
    except Unavailable as error:
        raise type(error)(f"{error.message}. `synerdiff up` starts a fleet on this machine") from None


def _submit(client: Client, jobs: list[dict[str, Any]], source: Path | None) -> list[str]:
    """Submit all jobs or, when one is wrong, none; returns their ids."""
    if source is None:
        return [client.submit(**jobs[0])]
    try:
        return client.submit_many(jobs)
    except InvalidJob as error:
        raise by_line(error, source) from None


def _names(ids: list[str], jobs: list[dict[str, Any]]) -> dict[str, str]:
    return {job_id: str(job.get("prompt", ""))[:32] for job_id, job in zip(ids, jobs, strict=True)}


def _deliver(client: Client, view: JobView, out_dir: Path, as_json: bool) -> bool:
    """Save a finished job's images and print its result; whether it has all its images."""
    files: list[str] = []
    error = view.error
    if view.state == "succeeded":
        try:
            files = [str(path.resolve()) for path in client.download(view.id, out_dir)]
        except SynerDiffError as problem:
            error = problem.info
    if as_json:
        print_json(result_document(view, files) | {"error": error.model_dump() if error else None})
    else:
        for file in files:
            out.print(file, soft_wrap=True)
    if error is not None or not files:
        reason = error.message if error else "it ended without images"
        err.print(f"{view.id} {view.state.value}: {reason}", style="red", soft_wrap=True)
    return bool(files)


def result_document(view: JobView, files: list[str]) -> dict[str, Any]:
    """A job's result as ``--json`` prints it; ``files`` are absolute paths in the order of ``images``."""
    shown = view.model_dump(mode="json", include={"id", "state", "images", "timings", "receipt"})
    for image in shown["images"]:
        image.pop("url")
    return {**shown, "files": files}


def repeat(source: Path, out_dir: Path, fields: dict[str, Any], as_json: bool) -> None:
    """Make the images of a receipt again on this machine; of ``fields`` only the format may be given."""
    extra = sorted(set(fields) - {"format"})
    if extra:
        raise wrong(extra[0], f"{extra[0]} cannot be given together with --replay: the receipt says it all")
    document = replay(source, out_dir, fields.get("format", "png"))
    if as_json:
        print_json(document)
    else:
        for file in document["files"]:
            out.print(file, soft_wrap=True)
