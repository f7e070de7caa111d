"""What every page owes every reader: no errors, no sideways scrolling, names for controls, a way by keyboard."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from tests.ui.conftest import Visitor

pytestmark = pytest.mark.browser

PAGES = (
    ("/", "creator", ".wall [data-tile]"),
    ("/", "newcomer", ".empty"),
    ("/progress", "creator", ".strip"),
    ("/progress", "newcomer", ".empty"),
    ("/gallery", "creator", ".wall [data-tile]"),
    ("/gallery", "newcomer", ".empty"),
    ("/clips/video_0000", "creator", "z-player video"),
    ("/clips/video_9001", "creator", ".clip-withheld"),
    ("/account", "creator", ".key"),
    ("/moderation", "moderator", ".case"),
    ("/sign-in", "", "#email"),
    ("/clips/video_9002", "creator", ".clip-withheld"),
    ("/clips/video_5001", "creator", ".clip-live"),
    ("/gallery?show=all", "creator", ".withheld"),
    ("/models", "creator", ".how-to"),
    ("/sign-up", "", "#invitation"),
    ("/sign-up?invitation=welcome", "", "#password"),
    ("/reset", "", ".door-note"),
    ("/confirm", "", "h1"),
)
NAMELESS = """
() => [...document.querySelectorAll("button, a[href], input:not([type=hidden]), select, textarea, [role=slider]")]
  .filter((e) => e.checkVisibility({checkVisibilityCSS: true}) && !e.closest("[aria-hidden=true]"))
  .filter((e) => !(
    e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.textContent.trim() ||
    e.labels?.length && [...e.labels].some((l) => l.textContent.trim())
  ))
  .map((e) => e.outerHTML.slice(0, 160))
"""

SHIFTS = """
const seen = [];
const place = (rect) => [rect.x, rect.y, rect.width, rect.height].map(Math.round);
const moved = (s) => [s.node?.className, place(s.previousRect), place(s.currentRect)];
const note = (list) => {
  for (const shift of list.getEntries()) {
    if (!shift.hadRecentInput) seen.push({by: shift.value, what: shift.sources.map(moved)});
  }
};
const observer = new PerformanceObserver(note);
observer.observe({type: "layout-shift", buffered: true});
window.shifts = () => { note({getEntries: () => observer.takeRecords()}); return seen; };
"""
SETTLED = """
document.documentElement.dataset.ready !== undefined && document.fonts.status === "loaded" &&
!document.querySelector("main .skeleton")
"""
# A link within a sentence is as high as its line; a strip is pressed anywhere; what nobody sees is not pressed.
SMALL = """
(least) => [...document.querySelectorAll("a[href], button, summary, select, input, label:has(input)")]
  .filter((e) => e.checkVisibility({visibilityProperty: true, opacityProperty: true}))
  .filter((e) => !e.matches("[type=hidden], .skip, .off-stage, .off-screen, .strip-prompt, p a, [tabindex='-1']"))
  .filter((e) => Math.round(e.getBoundingClientRect().height) < least)
  .map((e) => [Math.round(e.getBoundingClientRect().height), e.outerHTML.slice(0, 120)])
"""


@pytest.mark.parametrize(("address", "who", "awaited"), PAGES)
def test_a_page_has_no_errors_and_fits_a_phone(
    visit: Callable[..., Visitor], address: str, who: str, awaited: str
) -> None:
    visitor = visit(who, width=390, height=844, has_touch=True, is_mobile=True)
    page = _filled(visitor, address, awaited)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate(SMALL, 44) == []
    assert page.locator("h1").count() == 1
    assert visitor.complaints == []


@pytest.mark.parametrize(("address", "who", "awaited"), PAGES)
def test_a_page_fills_without_moving_and_nothing_is_too_small_to_press(
    visit: Callable[..., Visitor], address: str, who: str, awaited: str
) -> None:
    page = _filled(visit(who, width=1440), address, awaited)
    assert page.evaluate(SMALL, 24) == []


def _filled(visitor: Visitor, address: str, awaited: str) -> Page:
    """The page once it is all there; nothing moved while it filled."""
    visitor.page.add_init_script(SHIFTS)
    page = visitor.go(address, awaited)
    page.wait_for_function(SETTLED)
    shifts = page.evaluate("shifts()")
    assert sum(each["by"] for each in shifts) < 0.01, shifts
    return page


@pytest.mark.parametrize(
    ("address", "who", "awaited"), [page for page in PAGES if page[1] in ("creator", "moderator")]
)
def test_every_control_can_be_reached_by_tab_and_shows_the_focus(
    visit: Callable[..., Visitor], address: str, who: str, awaited: str
) -> None:
    page = visit(who).go(address, awaited)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the page"
    reached = set()
    for _ in range(160):
        page.keyboard.press("Tab")
        where = page.evaluate(
            """() => {
              const e = document.activeElement;
              if (e === document.body) return null;
              e.dataset.reached = "";
              const target = e.classList.contains("off-screen") ? e.closest("label") : e;
              return [e.tagName, getComputedStyle(target).outlineStyle];
            }"""
        )
        if where is None:
            break
        reached.add(where[0])
        assert where[1] != "none" or where[0] in ("TEXTAREA", "VIDEO"), f"no focus ring on {where[0]}"
    missed = page.evaluate(
        """() => [...document.querySelectorAll("main button, main a[href]")]
          .filter((e) => e.checkVisibility() && e.tabIndex >= 0 && !e.disabled && e.dataset.reached === undefined)
          .map((e) => e.outerHTML.slice(0, 120))"""
    )
    assert missed == []


def test_nothing_moves_by_itself_for_who_asked_for_that(visit: Callable[..., Visitor]) -> None:
    page = visit("creator", reduced_motion="reduce").go("/gallery", ".wall [data-tile]")
    page.locator("[data-tile]").first.hover()
    page.wait_for_timeout(200)
    assert page.locator("z-clip video").count() == 0
    assert page.evaluate("document.getAnimations().length") == 0


def test_the_readers_choice_of_light_is_there_at_the_next_visit(visit: Callable[..., Visitor]) -> None:
    visitor = visit("creator", color_scheme="dark")
    page = visitor.go("/gallery", ".wall [data-tile]")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator("[data-theme-toggle]").click()
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    page.reload()
    page.wait_for_selector("[data-tile]")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == light


def test_an_address_where_nothing_is_says_so_in_the_studio(visit: Callable[..., Visitor]) -> None:
    lefts = []
    for address, words in (("/nowhere", "Nothing is shown here"), ("/clips/video_nowhere", "No such clip")):
        page = visit("creator").go(address, f"h1:has-text('{words}')")
        page.locator(".rail-email", has_text="ada@studio.example").wait_for()
        lefts.append(page.evaluate("document.querySelector('h1').getBoundingClientRect().left"))
    assert lefts[0] == lefts[1]


def test_a_stranger_is_told_that_nothing_is_there_too(visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    page = visitor.go("/nowhere", "h1")
    assert "Nothing is shown here" in page.inner_text("h1")
    assert page.url.endswith("/nowhere")


def test_a_command_is_not_covered_by_its_copy_button(visit: Callable[..., Visitor]) -> None:
    page = visit("creator", width=390, height=844).go("/models", ".command")
    overlaps = page.locator(".command").evaluate_all(
        """all => all.filter((each) =>
          each.querySelector("pre").getBoundingClientRect().right >
          each.querySelector("button").getBoundingClientRect().left + 0.5).length"""
    )
    assert overlaps == 0


def test_a_command_is_read_whole_on_a_phone(visit: Callable[..., Visitor]) -> None:
    page = visit("creator", width=390, height=844).go("/models", ".command")
    widths = page.locator(".command pre").evaluate_all(
        "all => all.map((e) => [e.scrollWidth, e.clientWidth])"
    )
    assert widths
    assert all(words <= room for words, room in widths)


def test_nobody_is_sent_to_the_door_and_comes_back_where_they_were(visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    # Three page loads, each with a socket that has to open: on a loaded machine they take their time.
    visitor.page.set_default_timeout(90_000)
    page = visitor.go("/gallery", "#email")
    page.wait_for_url("**/sign-in?next=%2Fgallery")
    page.wait_for_function("document.documentElement.dataset.ready !== undefined")
    page.fill("#email", "ada@studio.example")
    page.fill("#password", "wrong")
    page.keyboard.press("Enter")
    page.get_by_text("don't belong together").wait_for()
    page.wait_for_function("document.activeElement.id === 'password'")
    page.fill("#password", "projector lamp")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-tile]")
    assert page.url.endswith("/gallery")
