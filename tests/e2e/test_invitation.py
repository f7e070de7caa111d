"""Somebody is invited: the link that the command line prints leads in, once, without its code being typed."""

from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.e2e.running_studio import RunningStudio
from tests.ui.screenshots import CHROMIUM, FLAGS


def test_the_printed_link_makes_an_account_and_works_once(shared_studio: RunningStudio) -> None:
    studio = shared_studio
    link = studio.run("users", "invite", "--tier", "pro").stdout.strip()
    assert link.startswith(f"{studio.url}/sign-up?invitation=")
    with sync_playwright() as playwright:
        path = CHROMIUM if Path(CHROMIUM).exists() else None
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.goto(link)
        page.get_by_text("You are invited to").wait_for()
        page.get_by_text("in the pro tier").wait_for()
        assert page.locator("#invitation").count() == 0
        page.get_by_label("E-mail").fill("invited@example.org")
        page.get_by_label("Password").fill("correct horse battery")
        page.get_by_role("button", name="Create the account").click()
        page.wait_for_selector("#prompt")
        page.locator(".price", has_text="credits").wait_for()

        stranger = browser.new_page()
        stranger.set_default_timeout(60_000)
        stranger.goto(link)
        stranger.get_by_text("This invitation was used, has ended").wait_for()
        stranger.wait_for_selector("#invitation")
        browser.close()
