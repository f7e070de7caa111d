"""The moderators' room: blurred first, true colours on demand, everything by keys."""

from collections.abc import Callable

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
    page.wait_for_function(f"{looks} === 'grayscale(1) blur(28px)'")
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
    page.wait_for_function("document.activeElement.id === 'note'")
    page.keyboard.type("looks staged")
    page.keyboard.press("Escape")
    page.wait_for_function("document.activeElement.id !== 'note'")
    page.keyboard.press("g")
    page.wait_for_selector("[data-page-verb=grey][aria-pressed=true]")
    assert page.input_value("#note") == "looks staged"
