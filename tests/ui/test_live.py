"""Pages that change by themselves, and what they say when the studio is away."""

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Browser

from tests.ui.conftest import Visitor, free_port, serving

pytestmark = pytest.mark.browser


def test_a_clip_arrives_without_the_page_being_loaded_again(
    visit: Callable[..., Visitor], served: str
) -> None:
    visitor = visit("drafter")
    page = visitor.go("/", ".choice")
    page.fill("#prompt", "a purple circle shrinking on a white background")
    page.get_by_role("button", name="Generate").click()
    strip = page.locator(".strip", has_text="purple circle shrinking")
    strip.wait_for()
    page.evaluate("window.same = true")
    job_id = page.evaluate("document.querySelector('.strip [data-job]').dataset.job")
    httpx.post(f"{served}/fake/finish/{job_id}").raise_for_status()
    page.locator(f"[data-tile={job_id}]").wait_for()
    assert strip.count() == 0
    assert page.evaluate("window.same")
    assert visitor.complaints == []


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
