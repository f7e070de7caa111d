"""Pictures of every page, both themes, phone and desktop: `python -m tests.ui.screenshots --url URL -o FOLDER`.

Made against the fake studio (tests/ui/fake_app.py), or any other whose session cookies are given.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
WIDTHS = {"phone": (390, 844), "tablet": (820, 1180), "desk": (1440, 900)}


def _hover_a_tile(page: Page) -> None:
    page.locator("[data-tile]").nth(1).hover()


def _select_two(page: Page) -> None:
    for index in (0, 2):
        page.locator("[data-verb=select]").nth(index).dispatch_event("click")
    page.wait_for_selector(".selection")


def _write(page: Page) -> None:
    page.fill("#prompt", "a red circle moving right on a blue background")
    page.locator("details.more summary").click()


def _strange_words(page: Page) -> None:
    page.fill("#prompt", "a pink elephant dancing on a blue background")
    page.locator(".prompt-unknown:not(:empty)").wait_for()


def _wrong_steps(page: Page) -> None:
    page.locator("details.more summary").click()
    page.fill("#steps", "3000")
    page.locator(".field-error", has_text="4 to 400").wait_for()


def _more_set(page: Page) -> None:
    page.locator("details.more summary").click()
    page.fill("#steps", "40")
    page.fill("#seed", "918273645")
    page.locator("details.more summary").click()


def _open_asides(page: Page) -> None:
    page.locator(".asides summary").click()


def _ask_to_stop(page: Page) -> None:
    page.locator(".strip", has_text="Step 118").get_by_role("button", name="Cancel").click()
    page.locator("#stop-job").wait_for()


def _focus_a_tile(page: Page) -> None:
    page.locator("[data-tile-link]").nth(4).focus()


def _stopped(page: Page) -> None:
    page.get_by_role("button", name="All", exact=True).click()
    page.locator(".withheld").first.wait_for()


def _find_nothing(page: Page) -> None:
    page.fill("[data-search]", "a dog on a surfboard")
    page.locator(".empty").wait_for()


def _find_few(page: Page) -> None:
    page.fill("[data-search]", "star")
    page.wait_for_function("document.querySelectorAll('[data-tile]').length < 9")


def _reveal(page: Page) -> None:
    page.keyboard.press(" ")
    page.wait_for_selector(".evidence-screen:not(.blurred)")


def _delete(page: Page) -> None:
    page.locator("[data-opens=delete-clip]").click()


def _new_key(page: Page) -> None:
    page.fill("#name", "notebook two")
    page.get_by_role("button", name="Create key").click()
    page.locator("#new-secret").wait_for()


def _wrong_password(page: Page) -> None:
    page.fill("#email", "ada@studio.example")
    page.fill("#password", "wrong")
    page.keyboard.press("Enter")
    page.locator(".field-error", has_text="belong").wait_for()


def _keys(page: Page) -> None:
    page.keyboard.press("?")


# name, address, whose session, what has to be there, what to do before the picture
SHOTS: tuple[tuple[str, str, str, str, Callable[[Page], None] | None], ...] = (
    ("create", "/", "creator", ".wall [data-tile]", None),
    ("create-writing", "/", "creator", ".controls > *", _write),
    ("create-strange", "/", "newcomer", ".controls > *", _strange_words),
    ("create-wrong", "/", "creator", ".controls > *", _wrong_steps),
    ("create-set", "/", "creator", ".controls > *", _more_set),
    ("create-asides", "/", "creator", ".asides", _open_asides),
    ("create-empty", "/", "newcomer", ".empty", None),
    ("progress", "/progress", "creator", ".strip", None),
    ("progress-stop", "/progress", "creator", ".strip", _ask_to_stop),
    ("progress-empty", "/progress", "newcomer", ".empty", None),
    ("gallery", "/gallery", "creator", ".wall [data-tile]", _hover_a_tile),
    ("gallery-focus", "/gallery", "creator", ".wall [data-tile]", _focus_a_tile),
    ("gallery-all", "/gallery?show=all", "creator", ".wall [data-tile]", None),
    ("gallery-few", "/gallery", "creator", ".wall [data-tile]", _find_few),
    ("gallery-nothing", "/gallery", "creator", ".wall [data-tile]", _find_nothing),
    ("gallery-selected", "/gallery", "creator", ".wall [data-tile]", _select_two),
    ("gallery-empty", "/gallery", "newcomer", ".empty", None),
    ("clip", "/clips/video_0000", "creator", "z-player video", None),
    ("clip-wide", "/clips/video_0001", "creator", "z-player video", None),
    ("clip-tall", "/clips/video_0004", "creator", "z-player video", None),
    ("clip-running", "/clips/video_5001", "creator", ".clip-live", None),
    ("clip-waiting", "/clips/video_5002", "creator", ".clip-live", None),
    ("clip-review", "/clips/video_9001", "creator", ".clip-withheld", None),
    ("clip-blocked", "/clips/video_9002", "creator", ".clip-withheld", None),
    ("clip-delete", "/clips/video_0000", "creator", "z-player video", _delete),
    ("clip-missing", "/clips/video_nowhere", "creator", ".empty", None),
    ("models", "/models", "creator", ".how-to", None),
    ("account", "/account", "creator", ".key", None),
    ("account-key", "/account", "creator", ".key", _new_key),
    ("moderation", "/moderation", "moderator", ".case", None),
    ("moderation-shown", "/moderation", "moderator", ".case", _reveal),
    ("moderation-keys", "/moderation", "moderator", ".case", _keys),
    ("sign-in", "/sign-in", "", "form", None),
    ("sign-in-wrong", "/sign-in", "", "form", _wrong_password),
    ("sign-up", "/sign-up", "", "#invitation", None),
    ("sign-up-invited", "/sign-up?invitation=welcome", "", "form", None),
    ("sign-up-ended", "/sign-up?invitation=other", "", "form", None),
    ("reset", "/reset", "", ".door-note", None),
    ("confirm", "/confirm", "", "h1", None),
    ("confirm-token", "/confirm?token=abc", "", "form", None),
    ("not-found", "/nowhere", "", "h1", None),
)


def take(url: str, folder: Path, only: set[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for size, (width, height) in WIDTHS.items():
            for theme in ("dark", "light"):
                context = browser.new_context(
                    viewport={"width": width, "height": height},
                    color_scheme=theme,
                    # Playwright evaluates what it waits for, which the pages' policy forbids.
                    bypass_csp=True,
                )
                for name, address, who, awaited, act in SHOTS:
                    if only and name not in only and f"{name}-{size}-{theme}" not in only:
                        continue
                    context.clear_cookies()
                    if who:
                        context.add_cookies([{"name": "zoetrope_session", "value": who, "url": url}])
                    page = context.new_page()
                    page.on(
                        "console", lambda said: said.type == "error" and print("console:", said.text[:300])
                    )
                    page.on("pageerror", lambda error: print("page error:", str(error)[:300]))
                    page.goto(url + address)
                    page.wait_for_selector(awaited)
                    page.evaluate("document.fonts.ready")
                    if act:
                        act(page)
                    page.wait_for_timeout(500)
                    page.screenshot(path=folder / f"{name}-{size}-{theme}.png")
                    page.evaluate("localStorage.clear()")
                    page.close()
                context.close()
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8477")
    parser.add_argument("-o", "--folder", type=Path, default=Path("test-results/screenshots"))
    parser.add_argument("only", nargs="*", help="names of pictures")
    arguments = parser.parse_args()
    take(arguments.url, arguments.folder, set(arguments.only))


if __name__ == "__main__":
    main()
