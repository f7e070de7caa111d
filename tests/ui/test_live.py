"""What pages say when the studio is away, and that they catch up when it is back."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser

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
