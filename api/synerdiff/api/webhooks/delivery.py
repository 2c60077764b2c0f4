"""One attempt to deliver a webhook: one address, one request, bounded in time and bytes, no redirects."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from dataclasses import dataclass
from functools import cache

import httpx

from synerdiff.api.webhooks.target import Refused, Rules, name_of

log = logging.getLogger("synerdiff.api")

MAX_RESPONSE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt: the HTTP status, or the reason why there is none."""

    status: int | None
    reason: str
    duration_s: float
    refused: bool = False

    @property
    def delivered(self) -> bool:
        """Whether the receiver took the message."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def final(self) -> bool:
        """Whether another attempt is useless: delivered, not to be called, or the receiver says that it is gone."""
        return self.delivered or self.refused or self.status == 410


async def deliver(url: str, content: str, headers: dict[str, str], rules: Rules, timeout_s: float) -> Answer:
    """Send a message; never raises."""
    began = time.monotonic()

    def answer(status: int | None, reason: str = "", *, refused: bool = False) -> Answer:
        return Answer(status, reason, round(time.monotonic() - began, 3), refused)

    try:
        async with asyncio.timeout(timeout_s):
            status = await _send(httpx.URL(url), content, headers, rules, timeout_s)
    except Refused as error:
        return answer(None, f"not called: {error}", refused=True)
    except TimeoutError:
        return answer(None, f"no answer within {timeout_s:g} s")
    except httpx.InvalidURL:
        return answer(None, "not called: it is not a URL", refused=True)
    except (OSError, httpx.HTTPError) as error:
        return answer(None, f"{type(error).__name__}: {error}"[:200])
    except (ValueError, OverflowError):  # what the resolver makes of a name or port that cannot be one
        return answer(None, "not called: the address is not valid", refused=True)
    except Exception as error:  # a failed attempt like others: the URL is a producer's, and the task is everybody's
        log.exception("webhook not delivered")
        return answer(None, f"{type(error).__name__}: {error}"[:200])
    if 300 <= status < 400:
        return answer(status, "redirects are not followed")
    return answer(status)


async def _send(url: httpx.URL, content: str, headers: dict[str, str], rules: Rules, timeout_s: float) -> int:
    address = await rules.resolve(url)
    # The address is pinned: a name that resolves to another one a moment later changes nothing. The name stays in Host
    # and in TLS, which checks the certificate against it.
    pinned = url.copy_with(host=str(address))
    host = {"host": url.netloc.decode("ascii")}
    extensions = {"sni_hostname": name_of(url)} if url.scheme == "https" else {}
    async with (
        httpx.AsyncClient(trust_env=False, follow_redirects=False, verify=_tls(), timeout=timeout_s) as client,
        client.stream("POST", pinned, content=content, headers=host | headers, extensions=extensions) as reply,
    ):
        size = 0
        async for chunk in reply.aiter_raw():
            size += len(chunk)
            if size > MAX_RESPONSE_BYTES:
                break
        return reply.status_code


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
