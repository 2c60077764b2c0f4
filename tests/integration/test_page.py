"""The gateway's page in a real browser, over a real gateway and a worker with the shipped model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from pydantic import SecretStr

from synerdiff.cli.embedded import EmbeddedRedis, EmbeddedS3
from synerdiff.protocol import JobState
from synerdiff.settings import Settings
from tests.browser import chromium
from tests.gateway_server import Served, served
from tests.support import wait_until
from tests.worker_stack import WorkerStack

MODEL = "tiny-emoji"
PATIENCE_MS = 60_000
WIDTHS = {"phone": (390, 844), "desktop": (1280, 900)}
NASTY = "<img src=x onerror=\"document.title='owned'\"> & </script> \u202e"

# The smallest contrast (WCAG) of any visible text on the page, and where.
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const channel = (value) => (value / 255 <= 0.03928 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const back = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  let worst = [99, ""];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.closest(".unseen, .jump, svg")) continue;
    const [a, b] = [light(rgba(getComputedStyle(element).color)), light(back(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst[0]) worst = [ratio, walker.currentNode.data.trim().slice(0, 60)];
  }
  return worst;
}"""
UNNAMED = """() => [...document.querySelectorAll("input, select, textarea, button, progress")]
  .filter((element) => element.checkVisibility())
  .filter((element) => !element.labels?.length && !element.getAttribute("aria-label") && !element.textContent.trim())
  .map((element) => element.outerHTML)"""
WIDER = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@dataclass(frozen=True)
class Fleet:
    """A gateway and the worker behind it."""

    here: Served
    stack: WorkerStack


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, s3_server: EmbeddedS3) -> Iterator[Fleet]:
    redis = EmbeddedRedis(tmp_path_factory.mktemp("redis"))
    redis.start()
    s3 = s3_server.make_bucket("page")
    settings = Settings.model_validate(
        {
            "redis_url": redis.url,
            "s3_endpoint": s3.endpoint,
            "s3_bucket": s3.bucket,
            "s3_access_key": s3.access_key,
            "s3_secret_key": s3.secret_key,
        }
    )
    logs = tmp_path_factory.mktemp("logs")
    with WorkerStack(redis.url, s3, logs, model=MODEL, fake=False) as stack, served(settings) as here:
        stack.start()
        yield Fleet(here, stack)
    redis.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser: Browser, fleet: Fleet) -> Iterator[Page]:
    """The page, failing the test for any script error or message of the browser's console."""
    found = browser.new_page(viewport={"width": 1280, "height": 900})
    found.set_default_timeout(PATIENCE_MS)
    said: list[str] = []
    found.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    found.on("pageerror", lambda error: said.append(str(error)))
    found.goto(fleet.here.url)
    expect(found.locator("#link")).to_have_text("connected", timeout=PATIENCE_MS)
    yield found
    found.close()
    assert [text for text in said if "the server responded with a status of 4" not in text] == []


def enqueue(page: Page, prompt: str, **fields: str) -> None:
    page.locator("#prompt").fill(prompt)
    for label, value in fields.items():
        page.get_by_label(label.capitalize(), exact=True).fill(value)
    page.get_by_role("button", name="Enqueue").click()


def result(page: Page, prompt: str) -> None:
    """Wait for a finished job and open it."""
    found = page.locator("#results button", has_text=prompt).first
    expect(found).to_be_visible(timeout=PATIENCE_MS)
    found.click()
    expect(page.get_by_role("dialog")).to_be_visible()


def test_a_prompt_becomes_a_picture_with_its_receipt(page: Page, fleet: Fleet) -> None:
    page.get_by_text("Negative prompt, size, format").click()
    for label, value in {"Negative prompt": "a blurred stem", "Width": "64", "Height": "128"}.items():
        page.get_by_label(label).fill(value)
    page.get_by_label("Format").select_option("webp")
    enqueue(page, "a red apple on snow", steps="30", images="2", seed="7")
    card = page.locator("#batch .card", has_text="a red apple on snow")
    expect(card).to_be_visible()
    result(page, "a red apple on snow")
    dialog = page.get_by_role("dialog")
    for text in ("30 steps of dpmpp_2m", "7, 8", "run,", "decode wait"):
        expect(dialog).to_contain_text(text)
    assert dialog.locator(".steps").first.locator("span").count() == 30
    sizes = dialog.locator("img").evaluate_all(
        "images => Promise.all(images.map(image => image.decode().then(() => image.naturalWidth)))"
    )
    assert sizes == [64, 64]
    page.locator("#form").evaluate("form => form.reset()")
    page.locator("#more").evaluate("more => (more.open = false)")
    dialog.get_by_role("button", name="Use its settings").click()
    kept = {"Steps": "30", "Seed": "7", "Negative prompt": "a blurred stem", "Width": "64", "Height": "128"}
    for label, value in kept.items():
        expect(page.get_by_label(label, exact=True)).to_have_value(value)
    expect(page.get_by_label("Format")).to_have_value("webp")
    expect(page.get_by_label("Format")).to_be_visible()
    expect(page.locator("#slots rect.unet").first).to_be_attached()
    expect(page.locator("#slots rect.vae").first).to_be_attached()
    figures = page.locator("#figures")
    expect(figures).to_contain_text("Theta")
    expect(figures.locator("div", has_text="E2E P50")).not_to_contain_text("–")


def test_a_picture_whose_address_expired_takes_its_newest(page: Page) -> None:
    refused: list[str] = []

    def first_expired(route: Route) -> None:
        if refused:
            route.continue_()
        else:
            refused.append(route.request.url)
            route.fulfill(status=403)

    page.route(re.compile("X-Amz-Signature"), first_expired)
    enqueue(page, "a pear in the rain", steps="2")
    picture = page.locator("#results button", has_text="a pear in the rain").locator("img")
    expect(picture).to_have_js_property("naturalWidth", 128, timeout=PATIENCE_MS)
    assert len(refused) == 1
    assert picture.get_attribute("src") != refused[0]


def test_markup_in_a_prompt_stays_text(page: Page) -> None:
    enqueue(page, NASTY, steps="2")
    result(page, "<img src=x")
    assert page.title() == "SynerDiff"
    assert page.get_by_role("dialog").locator("h2").text_content() == NASTY
    assert page.locator("img[src=x]").count() == 0


def test_a_job_can_be_cancelled(page: Page, fleet: Fleet) -> None:
    page.get_by_label("Images").fill("16")
    enqueue(page, "a slow castle", steps="150")
    card = page.locator("#batch .card", has_text="a slow castle")
    card.get_by_role("button", name="Cancel").click()
    expect(card).to_have_count(0)
    [view] = [view for view in fleet.stack.ledger.list_jobs(limit=5) if view.job.prompt == "a slow castle"]
    wait_until(lambda: fleet.stack.view(view.id).state is JobState.CANCELLED, what="the cancellation")


def test_a_refused_job_is_explained(page: Page) -> None:
    page.locator("#form").evaluate("form => (form.noValidate = true)")
    enqueue(page, "cat", steps="151")
    expect(page.get_by_role("alert")).to_have_text("steps must be at most 150; got 151")


def test_everything_works_from_the_keyboard(page: Page) -> None:
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "prompt":
            break
    page.keyboard.press("Control+a")
    page.keyboard.type("a star by keyboard")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Enqueue":
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    found = page.locator("#results button", has_text="a star by keyboard")
    expect(found).to_be_visible(timeout=PATIENCE_MS)
    found.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(found).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", list(WIDTHS))
def test_it_fits_and_can_be_read(page: Page, tmp_path: Path, width: str, scheme: str) -> None:
    page.set_viewport_size(dict(zip(("width", "height"), WIDTHS[width], strict=True)))  # type: ignore[arg-type]
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    page.get_by_text("Workers and plan").click()
    expect(page.locator("#workers-table table").first).to_be_visible()
    assert page.evaluate(WIDER) <= 0
    assert page.evaluate(UNNAMED) == []
    ratio, where = page.evaluate(CONTRAST)
    assert ratio >= 4.5, where
    shot = page.screenshot(path=tmp_path / f"{width}-{scheme}.png", full_page=True)
    assert len(shot) > 10_000


def test_without_a_key_it_asks_for_one(browser: Browser, fleet: Fleet) -> None:
    settings = fleet.here.gateway.settings.model_copy(update={"api_keys": SecretStr("red:r-key,blue:b-key")})
    with served(settings) as here:
        page = browser.new_page()
        page.goto(here.url)
        page.get_by_label("Key").fill("r-key")
        page.get_by_label("Key").press("Enter")
        expect(page.locator("#link")).to_have_text("connected", timeout=PATIENCE_MS)
        expect(page.locator("#results button")).to_have_count(0)  # those of the default tenant are not red's
        page.close()
