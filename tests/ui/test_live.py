"""What pages say when the studio is away, and that they catch up when it is back."""

import pytest
from playwright.sync_api import Browser

from tests.ui.conftest import free_port, serving

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
