"""One creator's first evening, in headless Chromium, on a studio with everything real."""

from pathlib import Path

from PIL import Image, ImageDraw
from playwright.sync_api import Page, sync_playwright

from tests.e2e.running_studio import RunningStudio
from tests.ui.screenshots import CHROMIUM, FLAGS

PROMPT = "a red circle moving right on a blue background"
EMAIL, PASSWORD = "evening@example.org", "correct horse battery"


def _sign_in(page: Page, studio: RunningStudio) -> None:
    page.goto(f"{studio.url}/sign-in")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector("#prompt")


PLAYS = """new Promise((resolve) => {
  const video = document.querySelector("z-player video");
  video.addEventListener("timeupdate", () => video.currentTime > 0.2 && resolve());
  video.play();
})"""


def test_signs_in_composes_with_an_image_watches_plays_and_finds_it_again(
    own_studio: RunningStudio, tmp_path: Path
) -> None:
    studio = own_studio
    studio.run("users", "create", "--email", EMAIL, "--password", PASSWORD, "--tier", "pro")
    studio.run("credits", "grant", "--email", EMAIL, "--amount", "100")
    picture = tmp_path / "blue.png"
    first = Image.new("RGB", (288, 288), (40, 80, 230))
    ImageDraw.Draw(first).ellipse((30, 100, 120, 190), fill=(230, 30, 30))
    first.save(picture)

    with sync_playwright() as playwright:
        path = CHROMIUM if Path(CHROMIUM).exists() else None
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(60_000)
        _sign_in(page, studio)
        page.locator(".price", has_text="credits").wait_for()
        page.fill("#prompt", PROMPT)
        page.set_input_files("z-drop input[type=file]", picture)
        page.wait_for_selector("z-drop[data-state=there]")
        page.locator(".price", has_text="credits").wait_for()
        page.get_by_role("button", name="Generate").click()
        page.locator(".live-prompt", has_text=PROMPT).wait_for()

        page.locator(".live-verbs a", has_text="Open").click()
        page.wait_for_url("**/clips/**")
        page.wait_for_selector("z-player video")
        # Waited for in the page: what Playwright polls it evaluates, and the page's policy forbids that.
        page.evaluate(PLAYS)
        clip_address = page.url
        browser.close()

        studio.stop()
        studio.start()
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.set_default_timeout(60_000)
        _sign_in(page, studio)
        page.goto(f"{studio.url}/gallery")
        page.locator(f"a[href*='{clip_address.rsplit('/', 1)[1]}']").first.wait_for()
        browser.close()
