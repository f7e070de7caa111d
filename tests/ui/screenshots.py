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
WIDTHS = {"phone": (390, 844), "desk": (1440, 900)}


def _hover_a_tile(page: Page) -> None:
    page.locator("[data-tile]").nth(1).hover()


def _select_two(page: Page) -> None:
    for index in (0, 2):
        page.locator("[data-verb=select]").nth(index).dispatch_event("click")
    page.wait_for_selector(".selection")


def _write(page: Page) -> None:
    page.fill("#prompt", "a red circle moving right on a blue background")
    page.locator("details.more summary").click()


def _keys(page: Page) -> None:
    page.keyboard.press("?")


# name, address, whose session, what has to be there, what to do before the picture
SHOTS: tuple[tuple[str, str, str, str, Callable[[Page], None] | None], ...] = (
    ("create", "/", "creator", ".wall [data-tile]", None),
    ("create-writing", "/", "creator", ".choice", _write),
    ("create-empty", "/", "newcomer", ".empty", None),
    ("progress", "/progress", "creator", ".strip", None),
    ("progress-empty", "/progress", "newcomer", ".empty", None),
    ("gallery", "/gallery", "creator", ".wall [data-tile]", _hover_a_tile),
    ("gallery-selected", "/gallery", "creator", ".wall [data-tile]", _select_two),
    ("gallery-empty", "/gallery", "newcomer", ".empty", None),
    ("clip", "/clips/video_0000", "creator", "z-player video", None),
    ("clip-wide", "/clips/video_0001", "creator", "z-player video", None),
    ("account", "/account", "creator", ".key", None),
    ("moderation", "/moderation", "moderator", ".case", None),
    ("moderation-keys", "/moderation", "moderator", ".case", _keys),
    ("sign-in", "/sign-in", "", "form", None),
    ("sign-up", "/sign-up", "", "form", None),
    ("not-found", "/nowhere", "", "h1", None),
)


def take(url: str, folder: Path, only: set[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for size, (width, height) in WIDTHS.items():
            for theme in ("dark", "light"):
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
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
