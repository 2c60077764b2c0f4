"""The page at the gateway's root, and the list of errors that replies link to."""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable, Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import APIRouter, FastAPI
from starlette.responses import HTMLResponse, Response

from synerdiff.api import errors as http_errors
from synerdiff.protocol import SynerDiffError

router = APIRouter(include_in_schema=False)
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_PATHS = {"index.html": "/"}
_HEADERS = {
    # Images come from S3, wherever that is; everything else from here.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: http: https:; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def install(app: FastAPI) -> None:
    """Serve the page's files, read once."""
    for file in files("synerdiff.api").joinpath("page").iterdir():
        app.add_api_route(_PATHS.get(file.name, f"/{file.name}"), _serve(file), include_in_schema=False)
    app.include_router(router)


def _serve(file: Traversable) -> Callable[[], Awaitable[Response]]:
    body = file.read_bytes()
    media_type = _TYPES[file.name.rpartition(".")[2]]

    async def serve() -> Response:
        return Response(body, media_type=media_type, headers=_HEADERS)

    return serve


@router.get(http_errors.DOCS)
def error_list() -> HTMLResponse:
    """Every error's code, status and meaning."""
    return HTMLResponse(_PAGE.format(rows="".join(_row(kind) for kind in _kinds(SynerDiffError))), headers=_HEADERS)


def _kinds(kind: type[SynerDiffError]) -> Iterator[type[SynerDiffError]]:
    for child in sorted(kind.__subclasses__(), key=lambda found: found.code):
        yield child
        yield from _kinds(child)


def _row(kind: type[SynerDiffError]) -> str:
    meaning = html.escape((kind.__doc__ or "").strip().partition("\n")[0].replace("``", ""))
    again = "yes" if kind.retryable else "no"
    return f'<tr id="{kind.code}"><td><code>{kind.code}</code><td>{kind.http_status}<td>{again}<td>{meaning}</tr>\n'


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Errors - SynerDiff</title><link rel="stylesheet" href="/page.css">
<main><h1>Errors</h1><p><a href="/">SynerDiff</a></p>
<table><thead><tr><th>Code<th>Status<th>Try again<th>Meaning</tr></thead><tbody>
{rows}</tbody></table></main></html>
"""
