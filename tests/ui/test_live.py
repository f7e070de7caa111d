"""What pages say when the studio is away, and that they catch up when it is back."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from tests.ui.conftest import Visitor, free_port, serving

pytestmark = pytest.mark.browser


def test_the_page_says_that_the_studio_is_away_and_catches_up_when_it_is_back(browser: Browser) -> None:
    port = free_port()
    context = browser.new_context(viewport={"width": 390, "height": 844})
    try:
        with serving(port) as url:
            context.add_cookies([{"name": "zoetrope_session", "value": "creator", "url": url}])
            page = context.new_page()
            page.goto(url + "/progress")
            page.locator(".strip").first.wait_for()
        page.locator(".connection-lost", has_text="Connection lost").wait_for()
        assert page.locator(".strip").count() > 0
        page.evaluate("window.same = true")
        with serving(port):
            page.locator(".connection-lost").wait_for(state="detached", timeout=60_000)
            page.locator(".strip").first.wait_for()
            strip = page.locator(".strip", has_text="2nd of 14")
            strip.get_by_role("button", name="Cancel").click()
            page.locator(".toast", has_text="Cancelled").wait_for()
            assert page.evaluate("window.same")
    finally:
        context.close()


def test_without_a_connection_one_goes_to_other_pages_and_they_fill_when_it_is_back(
    visit: Callable[..., Visitor],
) -> None:
    page = visit("creator").go("/", ".choice")
    page.wait_for_function(
        """() => ['progress', 'gallery', 'account'].every((name) =>
             performance.getEntriesByType('resource').some((file) => file.name.includes(`_${name}_._index`)
               && file.responseEnd > 0))"""
    )
    page.evaluate("window.same = true")
    page.context.set_offline(True)
    for place in ("In progress", "Gallery"):
        page.get_by_role("link", name=place).click()
        page.get_by_role("heading", name=place, level=1).wait_for()
        page.locator(".connection-lost").wait_for()
    assert page.locator(".tile").count() == 0
    page.context.set_offline(False)
    page.locator(".wall-gallery .tile").first.wait_for(timeout=60_000)
    assert page.url.endswith("/gallery")
    assert page.evaluate("window.same")


def test_what_is_sent_without_a_connection_is_said_to_wait_and_goes_once_it_is_back(
    visit: Callable[..., Visitor],
) -> None:
    page = visit("sender").go("/", ".choice")
    page.locator(".price", has_text="credits").wait_for()
    page.fill("#prompt", "a red star without a connection")
    page.context.set_offline(True)
    held = page.locator(".composer-held", has_text="as soon as the connection is back")
    held.wait_for(state="attached")
    assert held.is_hidden()
    page.get_by_role("button", name="Generate").click()
    held.wait_for()
    page.context.set_offline(False)
    sent = page.locator(".live-prompt, .behind-prompt", has_text="without a connection")
    sent.wait_for(timeout=60_000)
    assert held.count() == 0


def _lose_connection(page: Page) -> None:
    page.context.set_offline(True)
    page.locator(".connection-lost").wait_for(state="attached")


def _send(page: Page, prompt: str) -> str:
    """Send a prompt on the front page; the job's id."""
    page.locator(".price", has_text="credits").wait_for()
    page.fill("#prompt", prompt)
    page.get_by_role("button", name="Generate").click()
    page.locator("#now", has_text=prompt).wait_for()
    return str(page.locator("#now").get_attribute("data-stage"))


def test_an_image_given_without_a_connection_is_sent_when_it_is_back_and_what_was_pressed_goes_with_it(
    visit: Callable[..., Visitor], tmp_path: Path
) -> None:
    picture = tmp_path / "first.png"
    Image.effect_noise((64, 64), 80).convert("RGB").save(picture)
    page = visit("sender").go("/", "z-drop")
    page.locator(".price", has_text="credits").wait_for()
    _lose_connection(page)
    page.set_input_files("z-drop input[type=file]", picture)
    page.locator(".drop-note", has_text="until the connection is back").wait_for()
    page.fill("#prompt", "an orange square from an image")
    page.get_by_role("button", name="Generate").click()
    page.get_by_role("button", name="Waiting…").wait_for()
    page.locator(".composer-held").wait_for()
    page.context.set_offline(False)
    page.locator(".live-prompt, .behind-prompt", has_text="from an image").wait_for(timeout=60_000)
    page.locator("z-drop:not([data-state])").wait_for(state="attached")
    page.goto(page.url + "progress")
    page.locator(".strip", has_text="from upload_1").first.wait_for()


def test_an_image_that_did_not_arrive_is_sent_again_once_the_connection_was_away_and_is_back(
    visit: Callable[..., Visitor], tmp_path: Path
) -> None:
    picture = tmp_path / "first.png"
    Image.effect_noise((64, 64), 80).convert("RGB").save(picture)
    page = visit("newcomer").go("/", "z-drop")
    page.route("**/uploads", lambda route: route.abort(), times=1)
    page.set_input_files("z-drop input[type=file]", picture)
    page.wait_for_selector("z-drop[data-state=failed]")
    _lose_connection(page)
    page.locator(".drop-note", has_text="until the connection is back").wait_for()
    page.context.set_offline(False)
    page.locator("z-drop[data-state=there]").wait_for(timeout=60_000)
    page.get_by_role("button", name="Remove the image").click()


def test_a_clip_that_was_finished_meanwhile_is_on_the_stage_when_the_connection_is_back(
    visit: Callable[..., Visitor], served: str
) -> None:
    page = visit("watcher").go("/", ".choice")
    job_id = _send(page, "a purple star finished meanwhile")
    httpx.post(f"{served}/fake/step/{job_id}/9").raise_for_status()
    page.locator("#now", has_text="Step 9 of 16").wait_for()
    _lose_connection(page)
    httpx.post(f"{served}/fake/finish/{job_id}").raise_for_status()
    page.context.set_offline(False)
    page.locator(f"#now[data-stage={job_id}] .live-ready").wait_for(timeout=60_000)
    page.locator(".connection-lost").wait_for(state="detached")
    assert page.locator(f".wall [data-tile={job_id}]").count() == 0
    # Who was elsewhere meanwhile finds it on the wall.
    page.get_by_role("link", name="In progress").click()
    page.get_by_role("heading", name="In progress", level=1).wait_for()
    page.get_by_role("link", name="Create").click()
    page.locator(f".wall [data-tile={job_id}]").wait_for()
    assert page.locator("#now").count() == 0


def test_what_failed_meanwhile_says_why_when_the_connection_is_back(
    visit: Callable[..., Visitor], served: str
) -> None:
    page = visit("watcher").go("/", ".choice")
    job_id = _send(page, "a yellow star failed meanwhile")
    _lose_connection(page)
    httpx.post(f"{served}/fake/fail/{job_id}").raise_for_status()
    page.context.set_offline(False)
    ended = page.locator(".ended", has_text="failed meanwhile")
    ended.get_by_text("Failed, not charged").wait_for(timeout=60_000)
    ended.get_by_role("button", name="Remove").click()


def test_no_forecast_stands_while_nobody_hears_whether_it_holds(
    visit: Callable[..., Visitor], served: str
) -> None:
    page = visit("watcher").go("/", ".choice")
    job_id = _send(page, "a white square with a forecast")
    httpx.post(f"{served}/fake/step/{job_id}/9").raise_for_status()
    page.locator(".live-detail", has_text="About 2 s left").wait_for()
    _lose_connection(page)
    said = page.locator(".live-detail", has_text="Not connected: last seen")
    said.wait_for()
    first = said.inner_text()
    page.wait_for_function("(first) => document.querySelector('.live-detail').innerText !== first", arg=first)
    assert page.locator(".live-detail", has_text="left").count() == 0
    page.get_by_role("link", name="In progress").click()
    page.locator(".strip-detail", has_text="Not connected: last seen").wait_for()
    page.context.set_offline(False)
    page.locator(".strip-detail", has_text="About 2 s left").wait_for(timeout=60_000)
    httpx.post(f"{served}/fake/finish/{job_id}").raise_for_status()


def test_what_is_written_stays_when_the_connection_was_away(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/?from=video_0001", ".choice")
    page.wait_for_function("document.querySelector('#seed').value === '918273645'")
    page.fill("#prompt", "my own words")
    page.fill("#seed", "7")
    _lose_connection(page)
    page.context.set_offline(False)
    page.locator(".connection-lost").wait_for(state="detached", timeout=60_000)
    page.fill("#prompt", "my own words, and then some")
    page.locator(".price", has_text="credits").wait_for()
    page.get_by_role("link", name="In progress").click()
    page.get_by_role("heading", name="In progress", level=1).wait_for()
    page.get_by_role("link", name="Create").click()
    page.locator(".choice").first.wait_for()
    page.wait_for_function("document.querySelector('#prompt').value === 'my own words, and then some'")
    assert page.input_value("#seed") == "7"
