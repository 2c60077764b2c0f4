"""Server-Sent Events of jobs: live, taken up again, and many at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import redis

from tests.fake_worker import FakeWorker
from tests.gateway_server import Served, error_of, events_of
from tests.support import wait_until

STEPS = 3


def test_a_stream_that_is_opened_early_is_live(http: httpx.Client, here: Served) -> None:
    job = http.post("/v1/jobs", json={"prompt": "a fox", "steps": STEPS}).json()
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(events_of, http, job["events_url"])
        wait_until(lambda: here.gateway.hub.followers == 1, what="the stream is open")
        with FakeWorker(here.gateway.backend.ledger, here.gateway.backend.store).running():
            events = following.result(timeout=20)
    assert events[-1]["kind"] == "succeeded"
    wait_until(lambda: here.gateway.hub.followers == 0, what="the stream is closed")


@pytest.mark.parametrize("last", ["99999999999999999999", "1-18446744073709551616", "x"])
def test_an_id_that_no_stream_sent_is_refused_and_other_streams_go_on(
    http: httpx.Client, here: Served, worker: FakeWorker, last: str
) -> None:
    held = http.post("/v1/jobs", json={"prompt": "hold"}).json()
    error_of(http.get(held["events_url"], headers={"Last-Event-ID": last}), 422, "invalid_request")
    job = http.post("/v1/jobs", json={"prompt": "a fox", "steps": STEPS}).json()
    assert events_of(http, job["events_url"])[-1]["kind"] == "succeeded"


def test_a_damaged_event_hides_nothing_that_comes_after(
    http: httpx.Client, here: Served, redis_client: redis.Redis
) -> None:
    job = http.post("/v1/jobs", json={"prompt": "hold"}).json()
    key = f"synerdiff:events:{job['id']}"
    damaged: list[dict[Any, Any]] = [{"at": "1"}, {"kind": "step", "step": "many"}, {"kind": "step", "data": "{"}]
    for fields in damaged:
        redis_client.xadd(key, fields)
    here.gateway.backend.cancel(job["id"])
    kinds = [event["kind"] for event in events_of(http, job["events_url"])]
    assert kinds == ["queued", *["other"] * 3, "cancelled"]


def test_a_client_that_goes_away_is_forgotten(http: httpx.Client, here: Served) -> None:
    job = http.post("/v1/jobs", json={"prompt": "hold"}).json()
    with http.stream("GET", job["events_url"]) as reply:
        wait_until(lambda: here.gateway.hub.followers == 1, what="the stream is open")
        assert reply.status_code == 200
    wait_until(lambda: here.gateway.hub.followers == 0, what="the stream is closed")


def test_previews_are_streamed_to_those_who_ask(
    http: httpx.Client, worker: FakeWorker, redis_client: redis.Redis
) -> None:
    job = http.post("/v1/jobs", json={"prompt": "a fox, slowly", "steps": 3}).json()
    events = events_of(http, job["events_url"] + "?previews=true")
    pictures = [event for event in events if event["kind"] == "preview"]
    assert pictures
    assert {event["id"] for event in pictures} == {""}
    assert pictures[0]["data"]["0"].startswith("data:image/webp;base64,")
    assert not redis_client.exists(f"synerdiff:preview:{job['id']}")
    assert all(event["kind"] != "preview" for event in events_of(http, job["events_url"]))


def test_three_hundred_streams_share_one_reader(here: Served, http: httpx.Client, redis_client: redis.Redis) -> None:
    streams = 300
    job = http.post("/v1/jobs", json={"prompt": "hold"}).json()
    limits = httpx.Limits(max_connections=None)
    ended: list[str] = []

    def follow(client: httpx.Client) -> None:
        ended.append(events_of(client, job["events_url"])[-1]["kind"])

    with httpx.Client(base_url=here.url, timeout=60, limits=limits) as many:
        threads = [threading.Thread(target=follow, args=[many]) for _ in range(streams)]
        for thread in threads:
            thread.start()
        wait_until(lambda: here.gateway.hub.followers == streams, timeout_s=60, what="all streams are open")
        clients: list[Any] = redis_client.client_list()
        assert len(clients) < 60
        http.delete(job["url"])
        for thread in threads:
            thread.join(timeout=60)
    assert ended == ["cancelled"] * streams
