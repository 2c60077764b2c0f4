"""Ask every page that ours link to outside the project: ``make links``, where there is a network.

CI checks links within the project and needs no network for it; this is for a person before a release. A page that
answers 403 or 429 is there and turns programs away, so it counts as found.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

import httpx

from tests.markdown import ROOT, links, pages

TIMEOUT_S = 20.0
TURNED_AWAY = (403, 429)


def outside() -> dict[str, str]:
    """Every address outside the project, and the first place that names it."""
    found: dict[str, str] = {}
    for page in pages():
        for line, target in links(page):
            if target.startswith(("http://", "https://")):
                found.setdefault(target, f"{page.relative_to(ROOT)}:{line}")
    return found


def wrong(client: httpx.Client, address: str) -> str | None:
    """Why nobody could read the page, None if it is there."""
    try:
        with client.stream("GET", address) as answer:
            there = answer.is_success or answer.status_code in TURNED_AWAY
            return None if there else f"answers {answer.status_code}"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"cannot be read: {error or type(error).__name__}"


def check(addresses: Iterable[str], timeout_s: float = TIMEOUT_S) -> dict[str, str]:
    """The addresses that lead nowhere, and why."""
    with httpx.Client(follow_redirects=True, timeout=timeout_s) as client:
        answers = {address: wrong(client, address.partition("#")[0]) for address in addresses}
    return {address: why for address, why in answers.items() if why}


def main() -> int:
    """Print what leads nowhere; 1 if anything does."""
    named = outside()
    broken = check(named)
    for address, why in broken.items():
        print(f"{named[address]}: {address} {why}")
    print(f"{len(named)} addresses, {len(broken)} lead nowhere")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
