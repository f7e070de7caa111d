"""Money as its owner sees it: refusals beside the composer, receipts, credits by grant, and where more come from."""

from collections.abc import Callable

import pytest

from tests.ui.conftest import Visitor
from tests.ui.fake_gateway import LONG_WAIT_STEPS
from tests.ui.fake_money import REFUSALS

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    ("prompt", "again"),
    [
        ("too dear", "in 9 days"),
        ("too many today", "in 5 hr."),
        ("too many waiting", "in a moment"),
        ("too fast", "in a moment"),
    ],
)
def test_each_refusal_is_told_beside_the_composer_with_when_it_works_again(
    visit: Callable[..., Visitor], prompt: str, again: str
) -> None:
    visitor = visit("creator")
    page = visitor.go("/", ".choice")
    page.fill("#prompt", prompt)
    page.get_by_role("button", name="Generate").click()
    told = page.locator("form[data-composer] .refusal[role=alert]")
    told.wait_for()
    assert REFUSALS[prompt][0] in told.inner_text()
    assert f"It works again {again}" in told.inner_text()
    assert told.get_by_role("link", name="Your credits").count() == (prompt == "too dear")
    # The words stay, to be sent again.
    assert page.input_value("#prompt") == prompt
    assert visitor.complaints == []


def test_a_price_that_cannot_be_paid_is_told_before_anything_is_sent(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/", ".choice")
    page.fill("#prompt", "a red circle")
    page.locator("details.more summary").click()
    page.fill("#steps", "400")
    note = page.locator(".composer-note", has_text="costs 50 credits")
    note.wait_for()
    assert page.get_by_role("button", name="Generate").is_disabled()
    note.get_by_role("link", name="Your credits").click()
    page.wait_for_url("**/account")


def test_a_long_wait_offers_a_draft_which_is_made_by_one_press(visit: Callable[..., Visitor]) -> None:
    visitor = visit("creator")
    page = visitor.go("/", ".choice")
    page.fill("#prompt", "a blue square staying still on a white background")
    assert page.locator(".composer-quicker").count() == 0
    page.locator("details.more summary").click()
    page.fill("#steps", LONG_WAIT_STEPS)
    offer = page.locator(".composer-quicker", has_text="A draft in 8 steps costs 1 credit")
    offer.get_by_role("button", name="Make a draft").click()
    page.locator("#now", has_text="a blue square staying still").wait_for()
    page.wait_for_function("document.querySelector('#prompt').value === ''")
    assert visitor.complaints == []


def test_the_account_shows_credits_in_the_order_in_which_they_are_spent(
    visit: Callable[..., Visitor],
) -> None:
    visitor = visit("creator")
    page = visitor.go("/account", ".key")
    section = page.locator("section", has=page.get_by_role("heading", name="Credits", exact=True))
    rows = section.locator("tbody tr").all_inner_texts()
    assert [row.split("\t")[1] for row in rows] == ["14 of 200", "120 of 200", "348 of 1,000"]
    assert "in 20 hr." in rows[0]
    assert page.locator(".account-top", has_text="200 credits, in 9 days").count() == 1
    buy = page.get_by_role("link", name="Buy 1,000 credits")
    assert buy.get_attribute("href") == "https://pay.example/thousand"
    assert page.get_by_role("link", name="credits@studio.example").count() == 1
    assert visitor.complaints == []


def test_receipts_say_what_was_charged_and_why_and_lead_to_the_clip(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/account", ".key")
    section = page.locator("section", has=page.get_by_role("heading", name="Receipts"))
    cancelled = section.locator("tr", has_text="an orange star").first
    assert "4 of 12" in cancelled.inner_text()
    assert "Cancelled after 8 of 24 steps: 8/24 of 12, rounded down." in cancelled.inner_text()
    assert section.locator("tr", has_text="a green star").locator("a").count() == 0
    before = section.locator("tbody tr").count()
    section.get_by_role("button", name="Older receipts").click()
    page.wait_for_function(
        "n => document.querySelectorAll('.receipts-list tbody tr').length > n", arg=before, timeout=10_000
    )
    section.get_by_role("link", name="a yellow star").first.click()
    page.wait_for_url("**/clips/video_0001")


def test_who_got_no_free_credits_is_told_why_and_whom_to_ask(visit: Callable[..., Visitor]) -> None:
    page = visit("newcomer").go("/account", ".refusal")
    assert "5 accounts of your network" in page.locator(".refusal").inner_text()
    assert page.get_by_text("Ask whoever runs this studio.").count() == 1


def test_a_clip_has_its_receipt(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/clips/video_0000", ".receipt")
    said = page.locator(".receipt").inner_text()
    assert "Charged" in said
    assert "at the price that was quoted. Paid with 2 monthly credits." in said
