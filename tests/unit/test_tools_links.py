"""Links that leave the project: found on the pages, and asked over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tools import external_links

ANSWERS = {"/there": 200, "/closed": 403, "/gone": 404, "/broken": 500}


class Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(302 if self.path == "/moved" else ANSWERS[self.path])
        if self.path == "/moved":
            self.send_header("Location", "/gone")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on the tests' output."""


@pytest.fixture
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(30)
    server.server_close()


def test_what_leads_nowhere_is_told_with_the_reason(site: str) -> None:
    nobody = "http://127.0.0.1:1/x"  # nothing listens there
    pages = ("/there", "/there#part", "/closed", "/gone", "/broken", "/moved")
    broken = external_links.check([*(site + page for page in pages), nobody], timeout_s=10)
    assert {address.removeprefix(site): why for address, why in broken.items() if address != nobody} == {
        "/gone": "answers 404",
        "/broken": "answers 500",
        "/moved": "answers 404",
    }
    assert broken[nobody].startswith("cannot be read")


def test_the_pages_links_are_found_with_their_place() -> None:
    found = external_links.outside()
    assert found
    assert all(place.partition(":")[0].endswith(".md") for place in found.values())
    assert set(external_links.check(["http://[broken"])) == {"http://[broken"}


def test_the_exit_code_says_whether_all_were_found(
    site: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(external_links, "outside", lambda: {f"{site}/there": "a.md:1"})
    assert external_links.main() == 0
    monkeypatch.setattr(external_links, "outside", lambda: {f"{site}/gone": "a.md:1"})
    assert external_links.main() == 1
    assert f"a.md:1: {site}/gone answers 404" in capsys.readouterr().out
