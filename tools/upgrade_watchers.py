"""The gateways and Flowers of two versions over the workers of one; a part of :mod:`tools.upgrade_check`.

A job goes in at one gateway and is asked for once more at the other with the same idempotency key; both stream its
events, give the record, and URLs whose images are checked against their sha256; then each makes an image in the way of
OpenAI. Both Flowers show the jobs.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import httpx

from synerdiff.cli.ports import LOOPBACK, free_ports

if TYPE_CHECKING:
    from tools.upgrade_check import Check, Version

AUTH = ("check", "check-password")
FIELDS = {"prompt": "a red apple", "steps": 8, "n": 2, "seed": 7}
TIMEOUT_S = 240.0


def watched(check: Check, services: Version) -> None:
    """A scheduler and a worker of one version under the gateways and Flowers of both."""
    with ExitStack() as open_now:
        open_now.enter_context(check.service(services, "scheduler"))
        worker = open_now.enter_context(check.service(services, "worker"))
        check.registered(worker)
        versions = (check.old, check.new)
        gateways = [open_now.enter_context(_front(check, version, "gateway", "/readyz")) for version in versions]
        flowers = [open_now.enter_context(_front(check, version, "flower", "/healthcheck")) for version in versions]
        job_ids: list[str] = []
        for first, second in ((0, 1), (1, 0)):
            names = f"{services.name} worker, job of the {versions[first].name} gateway, read at both"
            check.say(names, partial(_served, (gateways[first], gateways[second]), job_ids))
        for version, url in zip(versions, gateways, strict=True):
            check.say(f"{services.name} worker, {version.name} gateway, OpenAI Images", partial(_generated, url))
        for version, url in zip(versions, flowers, strict=True):
            check.say(f"{services.name} worker, {version.name} Flower", partial(_shown, url, job_ids))


@contextmanager
def _front(check: Check, version: Version, name: str, probe: str) -> Iterator[str]:
    """A gateway or a Flower of a version, once it answers; its address."""
    [port] = free_ports(1)
    settings = {f"SYNERDIFF_{name.upper()}_PORT": str(port), "SYNERDIFF_FLOWER_BASIC_AUTH": ":".join(AUTH)}
    url = f"http://{LOOPBACK}:{port}"
    with check.service(version, name, settings) as child:
        check.wait(lambda: _answers(url + probe), child, f"answer of the {version.name} {name}")
        yield url


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def _served(gateways: Sequence[str], job_ids: list[str]) -> str:
    """A job of the first gateway, asked for again, followed, read and fetched at each."""
    key = {"Idempotency-Key": f"check-{time.monotonic_ns()}"}
    with httpx.Client(timeout=TIMEOUT_S) as http:
        replies = [http.post(f"{url}/v1/jobs", json=FIELDS, headers=key) for url in gateways]
        found = [reply.raise_for_status().json() for reply in replies]
        job_id = found[0]["id"]
        if [(each["id"], each["created"]) for each in found] != [(job_id, True), (job_id, False)]:
            raise RuntimeError(f"the same key gave {found}")
        job_ids.append(job_id)
        for url in gateways:
            kinds = list(_kinds(http, f"{url}/v1/jobs/{job_id}/events"))
            if kinds[-1] != "succeeded" or "step" not in kinds:
                raise RuntimeError(f"events at {url}: {kinds}")
            view = http.get(f"{url}/v1/jobs/{job_id}").raise_for_status().json()
            digests = [hashlib.sha256(http.get(image["url"]).content).hexdigest() for image in view["images"]]
            if view["state"] != "succeeded" or digests != [image["sha256"] for image in view["images"]]:
                raise RuntimeError(f"read at {url}: {view['state']}, {digests}")
    return "one job for one key, 2 images, events to their end"


def _kinds(http: httpx.Client, url: str) -> Iterator[str]:
    with http.stream("GET", url) as reply:
        for line in reply.raise_for_status().iter_lines():
            if line.startswith("event: "):
                yield line.removeprefix("event: ")


def _generated(url: str) -> str:
    wanted = {"prompt": "a red apple", "steps": 8, "response_format": "b64_json"}
    reply = httpx.post(f"{url}/v1/images/generations", json=wanted, timeout=TIMEOUT_S)
    [image] = reply.raise_for_status().json()["data"]
    data = base64.b64decode(image["b64_json"])
    if not data.startswith(b"\x89PNG"):
        raise RuntimeError(f"not a PNG: {data[:8]!r}")
    return f"a PNG of {len(data)} bytes"


def _shown(url: str, job_ids: Sequence[str]) -> str:
    """Wait until Flower shows every job done, under its name and id."""
    deadline, found = time.monotonic() + 60, {}
    while time.monotonic() < deadline:
        tasks = httpx.get(f"{url}/api/tasks", auth=AUTH, timeout=30).raise_for_status().json()
        found = {job_id: [tasks.get(job_id, {}).get(name) for name in ("name", "state", "args")] for job_id in job_ids}
        if all(shown == ["synerdiff.generate", "SUCCESS", f"['{job_id}']"] for job_id, shown in found.items()):
            return f"shows {len(found)} jobs done"
        time.sleep(0.25)
    raise RuntimeError(f"shows {found}")
