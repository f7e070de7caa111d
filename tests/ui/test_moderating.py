"""The moderators' room: blurred first, true colours on demand, everything by keys."""

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Page

from tests.ui.conftest import Visitor

pytestmark = pytest.mark.browser


def test_a_moderator_clears_the_queue_by_keys_alone(visit: Callable[..., Visitor]) -> None:
    visitor = visit("moderator")
    page = visitor.go("/moderation", ".case")
    page.wait_for_function("document.documentElement.dataset.ready !== undefined")
    page.wait_for_selector(".evidence-screen.blurred")
    page.keyboard.press(" ")
    page.wait_for_selector(".evidence-screen:not(.blurred)")
    waiting = page.locator(".case").count()
    page.keyboard.press("n")
    page.keyboard.type("seen before")
    page.keyboard.press("Tab")
    page.keyboard.press("b")
    page.wait_for_function(f"document.querySelectorAll('.case').length === {waiting - 1}")
    page.wait_for_selector(".evidence-screen.blurred")
    assert page.input_value("#note") == ""
    page.keyboard.press("a")
    page.wait_for_function(f"document.querySelectorAll('.case').length === {waiting - 2}")
    page.keyboard.press("z")
    page.wait_for_function(f"document.querySelectorAll('.case').length === {waiting - 1}")
    assert visitor.complaints == []


def hold_a_key(page: Page) -> None:
    for _ in range(4):
        page.keyboard.down("a")
    page.keyboard.up("a")


def press_a_key_twice(page: Page) -> None:
    # In one task: no answer can come between the two.
    page.evaluate("for (const _ of 'ab') document.dispatchEvent(new KeyboardEvent('keydown', { key: 'a' }))")


def hold_enter_on_the_button(page: Page) -> None:
    page.get_by_role("button", name="Allow", exact=True).focus()
    for _ in range(4):
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")


def double_click(page: Page) -> None:
    page.get_by_role("button", name="Allow", exact=True).dblclick(delay=150)


@pytest.mark.parametrize("decide", [hold_a_key, press_a_key_twice, hold_enter_on_the_button, double_click])
def test_a_case_that_the_moderator_never_saw_is_not_decided(
    visit: Callable[..., Visitor], decide: Callable[[Page], None]
) -> None:
    page = visit("moderator").go("/moderation", ".case")
    page.wait_for_function("document.documentElement.dataset.ready !== undefined")
    waiting = page.locator(".case").count()
    decide(page)
    page.get_by_text("1 decided").wait_for()
    # Events are answered in their order: a second decision would have come before this.
    page.get_by_role("button", name="Show").click()
    page.wait_for_selector(".evidence-screen:not(.blurred)")
    assert page.get_by_text("1 decided").count() == 1
    assert page.locator(".case").count() == waiting - 1
    page.keyboard.press("z")
    page.wait_for_function(f"document.querySelectorAll('.case').length === {waiting}")


def test_a_decision_names_the_case_on_the_screen(visit: Callable[..., Visitor]) -> None:
    page = visit("moderator").go("/moderation", ".case")
    page.wait_for_function("document.documentElement.dataset.ready !== undefined")
    waiting = page.locator(".case").count()
    page.evaluate("document.querySelector('#decision [name=case_id]').value = 'case_of_another_day'")
    page.get_by_role("button", name="Block", exact=True).click()
    page.get_by_text("That case is no longer on the table. Nothing was decided.").wait_for()
    assert page.locator(".case").count() == waiting


def test_a_creator_has_no_way_into_moderation(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/moderation", ".composer")
    assert page.locator(".case").count() == 0
    assert page.get_by_role("link", name="Moderation").count() == 0


def test_evidence_is_blurred_and_grey_first_and_shown_in_its_colours(visit: Callable[..., Visitor]) -> None:
    page = visit("moderator").go("/moderation", ".evidence-screen.blurred video")
    page.wait_for_function("document.documentElement.dataset.ready !== undefined")
    looks = "getComputedStyle(document.querySelector('.evidence-screen video')).filter"
    assert page.evaluate(looks).startswith("grayscale(1) blur(")
    page.get_by_role("button", name="Show").click()
    page.wait_for_function(f"{looks} === 'none'")
    page.keyboard.press("g")
    page.wait_for_function(f"{looks} === 'grayscale(1)'")
    page.get_by_role("button", name="Without colours").click()
    page.wait_for_function(f"{looks} === 'none'")


def test_a_score_says_where_how_much_and_against_which_threshold(visit: Callable[..., Visitor]) -> None:
    page = visit("moderator").go("/moderation", ".score")
    assert "93 of 100, threshold 60" in page.locator(".score").first.inner_text()
    page.wait_for_function("document.querySelector('z-player video').readyState > 1")
    page.get_by_role("button", name="Clip at 1.25 s").click()
    page.wait_for_function("Math.abs(document.querySelector('z-player video').currentTime - 1.25) < 0.13")
    assert page.evaluate("document.querySelector('z-player video').paused")


def test_deciding_needs_no_scrolling_on_a_phone(visit: Callable[..., Visitor]) -> None:
    page = visit("moderator", width=390, height=844).go("/moderation", ".case")
    for name in ("Allow", "Block"):
        box = page.get_by_role("button", name=name, exact=True).bounding_box()
        assert box is not None
        assert 600 < box["y"] < 844 - box["height"]


def test_the_way_in_says_how_many_wait(visit: Callable[..., Visitor]) -> None:
    page = visit("moderator").go("/gallery", ".empty")
    badge = page.get_by_role("link", name="Moderation").locator(".rail-count")
    badge.wait_for()
    assert int(badge.inner_text()) > 0


def test_escape_leaves_the_note_for_the_keys(visit: Callable[..., Visitor]) -> None:
    page = visit("moderator").go("/moderation", ".case")
    page.wait_for_function("document.documentElement.dataset.ready !== undefined")
    page.keyboard.press("n")
    assert page.evaluate("document.activeElement.id") == "note"
    page.keyboard.type("looks staged")
    page.keyboard.press("Escape")
    page.wait_for_function("document.activeElement.id !== 'note'")
    page.keyboard.press("g")
    page.wait_for_selector("[data-page-verb=grey][aria-pressed=true]")
    assert page.input_value("#note") == "looks staged"


@pytest.mark.parametrize("width", [390, 1440])
def test_the_blur_leaves_no_outline_on_any_screen(visit: Callable[..., Visitor], width: int) -> None:
    page = visit("moderator", width=width, height=900).go("/moderation", ".evidence-screen.blurred video")
    share = """() => {
      const video = document.querySelector(".evidence-screen video");
      const blur = Number(getComputedStyle(video).filter.match(/blur\\(([0-9.]+)px\\)/)[1]);
      return blur / video.getBoundingClientRect().width;
    }"""
    assert page.evaluate(share) > 0.15


def test_the_next_case_is_blurred_from_its_first_frame_on(visit: Callable[..., Visitor]) -> None:
    page = visit("moderator").go("/moderation", ".evidence-screen.blurred video")
    page.wait_for_function("document.documentElement.dataset.ready !== undefined")
    page.keyboard.press(" ")
    page.wait_for_selector(".evidence-screen:not(.blurred)")
    page.wait_for_function(
        "getComputedStyle(document.querySelector('.evidence-screen video')).filter === 'none'"
    )
    page.evaluate(
        """() => {
          const screen = document.querySelector(".evidence-screen");
          new MutationObserver(() => {
            window.first ??= getComputedStyle(screen.querySelector("video")).filter;
          }).observe(screen, { attributeFilter: ["class"] });
        }"""
    )
    page.keyboard.press(" ")
    page.wait_for_selector(".evidence-screen.blurred")
    page.wait_for_function("window.first")
    assert page.evaluate("window.first").startswith("grayscale(1) blur(")


def test_only_the_last_decision_is_spoken_of(visit: Callable[..., Visitor], served: str) -> None:
    for _ in range(3):
        _hold_another(served)
    page = visit("moderator").go("/moderation", ".case")
    page.wait_for_function("document.documentElement.dataset.ready !== undefined")
    page.keyboard.press("z")
    page.locator(".toast", has_text="There is no allow to undo").wait_for()
    page.keyboard.press("a")
    page.locator(".toast", has_text="Allowed").wait_for()
    page.keyboard.press("z")
    page.locator(".toast", has_text="Undone").wait_for()
    assert page.locator(".toast").count() == 1
    page.keyboard.press("a")
    page.locator(".toast", has_text="Allowed").wait_for()
    page.keyboard.press("b")
    page.locator(".toast", has_text="Blocked").wait_for()
    assert page.locator(".toast").count() == 1
    page.keyboard.press("z")
    page.locator(".toast", has_text="A block took effect at once").wait_for()
    assert page.locator(".toast").count() == 1


def test_the_last_case_of_the_queue_can_be_undone_too(visit: Callable[..., Visitor], served: str) -> None:
    _hold_another(served)
    page = visit("moderator").go("/moderation", ".case")
    page.wait_for_function("document.documentElement.dataset.ready !== undefined")
    while (waiting := page.locator(".case").count()) > 1:
        page.keyboard.press("b")
        page.wait_for_function(f"document.querySelectorAll('.case').length === {waiting - 1}")
    page.keyboard.press("a")
    page.locator("h2", has_text="The queue is empty").wait_for()
    page.locator(".toast").get_by_role("button", name="Undo").click()
    page.wait_for_function("document.querySelectorAll('.case').length === 1")


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1440, 900)])
def test_a_notice_covers_no_evidence_and_no_button(
    visit: Callable[..., Visitor], served: str, width: int, height: int
) -> None:
    for _ in range(2):
        _hold_another(served)
    page = visit("moderator", width=width, height=height).go("/moderation", ".case")
    page.wait_for_function("document.documentElement.dataset.ready !== undefined")
    page.keyboard.press("a")
    page.locator(".toast", has_text="Allowed").wait_for()
    covered = page.evaluate(
        """() => {
          const note = document.querySelector(".toast").getBoundingClientRect();
          const meets = (box) => box.width && box.left < note.right && box.right > note.left &&
            box.top < note.bottom && box.bottom > note.top;
          return [...document.querySelectorAll(".score, .evidence-screen, .evidence-verbs, .decision .button")]
            .filter((each) => meets(each.getBoundingClientRect())).map((each) => each.className);
        }"""
    )
    assert covered == []


def test_the_ring_of_a_queued_case_is_not_cut(visit: Callable[..., Visitor], served: str) -> None:
    _hold_another(served)
    page = visit("moderator").go("/moderation", ".case")
    page.wait_for_function("document.documentElement.dataset.ready !== undefined")
    page.keyboard.press("j")
    assert page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineOffset)") < 0


def _hold_another(served: str) -> None:
    """One more clip waits for a moderator."""
    made = httpx.post(f"{served}/fake/make/acc_6").json()["id"]
    httpx.post(f"{served}/fake/hold/{made}").raise_for_status()


def test_who_decides_about_their_own_clip_reads_one_notice(
    visit: Callable[..., Visitor], served: str
) -> None:
    own = httpx.post(f"{served}/fake/make/acc_2").json()["id"]
    page = visit("moderator").go("/moderation", ".shell")
    page.get_by_role("link", name="In progress").locator(".rail-count").wait_for()
    httpx.post(f"{served}/fake/hold/{own}").raise_for_status()
    page.get_by_role("link", name="In progress").locator(".rail-count").wait_for(state="detached")
    page.reload()
    page.locator(".case", has_text="a green circle growing").last.click()
    page.locator(".decision", has_text=own).wait_for()
    page.keyboard.press("b")
    page.locator(".toast", has_text="Blocked").wait_for()
    going = "document.querySelector('z-heard').getAttribute('beat')"
    beat = page.evaluate(going)
    httpx.post(f"{served}/fake/make/acc_2").raise_for_status()
    page.wait_for_function(f"{going} !== '{beat}'")
    assert page.locator(".toast").count() == 1
    assert page.locator(".toast").inner_text() == "Blocked. Its owner is not charged."
    page.evaluate("zoetrope.toast({ text: 'Another' })")
    assert page.locator(".toast:visible").all_inner_texts() == ["Another"]
