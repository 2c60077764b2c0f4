"""Flower as operators see it: its pages, in a browser too, and its API, over real workers."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import expect

from synerdiff.cli.embedded import EmbeddedRedis, EmbeddedS3
from synerdiff.protocol import JobState
from tests.browser import chromium
from tests.flower_server import PASSWORD, USER, Flower
from tests.support import wait_until
from tests.worker_stack import WorkerStack

LONG = 1_000_000
PROMPT = "xylophone in a zeppelin"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, s3_server: EmbeddedS3) -> Iterator[WorkerStack]:
    redis = EmbeddedRedis(tmp_path_factory.mktemp("redis"))
    redis.start()
    with WorkerStack(
        redis.url, s3_server.make_bucket("flower"), tmp_path_factory.mktemp("logs"), model="fake"
    ) as stack:
        yield stack
    redis.stop()


@pytest.fixture(scope="module")
def flower(stack: WorkerStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flower]:
    stack.start(worker_name="gpu")
    found = Flower(stack.app.conf.broker_url, tmp_path_factory.mktemp("flower") / "log")
    try:
        found.start()
        wait_until(lambda: found.http.get("/api/workers?refresh=1").json(), 60, what="the worker in Flower")
        yield found
    finally:
        found.stop()


def test_a_finished_job_has_name_id_runtime_and_result_and_nothing_private(stack: WorkerStack, flower: Flower) -> None:
    [job_id] = stack.submit(PROMPT, n=2, steps=50)
    shown = flower.until(job_id, "SUCCESS")
    assert (shown["name"], shown["args"], shown["kwargs"]) == ("synerdiff.generate", f"['{job_id}']", "{}")
    assert shown["runtime"] > 0
    assert "2 images" in shown["result"]
    assert shown["worker"].startswith("celery@gpu")
    pages = ("/", "/workers", "/tasks", f"/task/{job_id}", f"/worker/{shown['worker']}", "/broker", "/api/tasks")
    for path in pages:
        reply = flower.http.get(path)
        assert reply.status_code == 200, path
        assert "xylophone" not in reply.text
    assert job_id in flower.http.get(f"/task/{job_id}").text


def test_a_running_job_shows_its_step_whatever_other_hints_come(stack: WorkerStack, flower: Flower) -> None:
    [job_id] = stack.submit("cat", steps=LONG)
    stack.running(job_id)
    shown = flower.until(job_id, "PROGRESS")
    assert shown["result"].startswith("step ")
    assert shown["result"].endswith(f" of {LONG}")
    stack.send([job_id, job_id])
    [done] = stack.submit("dog")
    flower.until(done, "SUCCESS")  # sent after the doubled hints, so these are over
    assert flower.task(job_id)["state"] == "PROGRESS"
    stack.ledger.cancel(job_id)
    flower.until(job_id, "REVOKED")


def test_a_failed_job_says_why(stack: WorkerStack, flower: Flower) -> None:
    [job_id] = stack.submit("fails")
    shown = flower.until(job_id, "FAILURE")
    assert "non_finite_image: the image has NaN values" in shown["exception"]
    assert stack.view(job_id).state is JobState.FAILED


def test_a_job_that_is_handed_back_is_to_run_again(stack: WorkerStack, flower: Flower) -> None:
    [job_id] = stack.submit("segfault")
    [view] = stack.ended([job_id], timeout_s=120)
    assert view.state is JobState.DEAD
    assert flower.until(job_id, "RETRY")["exception"].startswith("the engine process")


def test_everything_but_health_and_metrics_wants_the_password(flower: Flower) -> None:
    for path in ("/", "/workers", "/tasks", "/broker", "/api/workers", "/api/tasks", "/api/queues/length"):
        assert httpx.get(flower.url + path).status_code == 401, path
        assert httpx.get(flower.url + path, auth=(USER, "wrong")).status_code == 401, path
    assert httpx.get(f"{flower.url}/healthcheck").status_code == 200
    assert httpx.get(f"{flower.url}/metrics").status_code == 200


def test_the_task_list_in_a_browser(stack: WorkerStack, flower: Flower) -> None:
    [job_id] = stack.submit("a list entry")
    flower.until(job_id, "SUCCESS")
    with chromium() as browser:
        page = browser.new_page(http_credentials={"username": USER, "password": PASSWORD})
        page.set_default_timeout(60_000)
        page.goto(f"{flower.url}/tasks")
        row = page.locator("tr", has_text=job_id)
        expect(row).to_contain_text("synerdiff.generate", timeout=60_000)
        expect(row).to_contain_text("SUCCESS")
        expect(page.locator("th")).to_contain_text(["Name", "UUID", "State", "Result", "Runtime", "Worker"])
