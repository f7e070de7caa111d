"""The account page: keys with their examples, the password, and what is said when a form is wrong."""

from collections.abc import Callable, Iterator
from dataclasses import asdict

import httpx
import pytest

from frontend.views import DoorView
from tests.ui.conftest import Visitor

pytestmark = pytest.mark.browser

NAME_WRONG = "Give the key a name, so that you know it later."


@pytest.fixture
def mailing(served: str) -> Iterator[None]:
    """A studio that is open and sends e-mail; as before afterwards."""
    for view in (
        DoorView(signup="open", sends_mail=True),
        DoorView(signup="invitation", place="studio.example"),
    ):
        httpx.post(f"{served}/fake/front", json=asdict(view)).raise_for_status()
        if view.sends_mail:
            yield


def test_what_was_wrong_with_a_key_goes_with_the_retry(visit: Callable[..., Visitor]) -> None:
    visitor = visit("creator")
    page = visitor.go("/account", ".key-form")
    page.get_by_role("button", name="Create key").click()
    wrong = page.locator(".key-form .field-error", has_text=NAME_WRONG)
    wrong.wait_for()
    page.fill("#name", "render farm")
    page.get_by_role("button", name="Create key").click()
    page.wait_for_selector("#new-secret")
    assert page.get_by_text(NAME_WRONG).count() == 0
    page.get_by_role("button", name="Done").click()
    page.wait_for_selector(".key-form")
    assert page.get_by_text(NAME_WRONG).count() == 0
    assert visitor.complaints == []


def test_a_key_asked_for_twice_by_one_press_is_made_once_and_nothing_is_wrong(
    visit: Callable[..., Visitor],
) -> None:
    page = visit("watcher").go("/account", ".key-form")
    page.fill("#name", "render farm")
    page.evaluate("(f => { f.requestSubmit(); f.requestSubmit() })(document.querySelector('.key-form'))")
    page.wait_for_selector("#new-secret")
    page.get_by_role("button", name="Done").click()
    page.wait_for_selector(".key-form")
    assert page.locator(".key-form .field-error").all_inner_texts() == ["", ""]
    assert page.locator(".key-name").all_inner_texts() == ["render farm"]


def test_the_example_of_a_key_that_only_reads_reads(visit: Callable[..., Visitor]) -> None:
    page = visit("collector").go("/account", ".key-form")
    page.fill("#name", "reader")
    page.locator(".choice", has_text="Read only").click()
    page.get_by_role("button", name="Create key").click()
    page.wait_for_selector("#new-secret")
    examples = " ".join(page.locator(".example-code code").all_text_contents())
    assert "/v1/videos" in examples
    assert "videos.list()" in examples
    assert "prompt=" not in examples


def test_who_came_in_by_a_link_is_told_to_set_a_password(visit: Callable[..., Visitor]) -> None:
    page = visit("passwordless").go("/", "#prompt")
    page.locator(".rail").get_by_role("button", name="Set a password").click()
    page.wait_for_selector("#set-password[open]")
    page = visit("passwordless").go("/account", ".key-form")
    page.get_by_text("zoetrope users link --email passwordless@studio.example").wait_for()
    page = visit("creator").go("/account", ".key-form")
    assert page.get_by_text("Set a password").filter(visible=True).count() == 0


def test_a_wrong_password_form_says_so_in_red_beside_the_field(visit: Callable[..., Visitor]) -> None:
    page = visit("creator").go("/account", ".key-form")
    page.locator("[data-opens=set-password]").click()
    page.locator("#set-password input:focus").wait_for()
    page.locator("#set-password").get_by_role("button", name="Save").click()
    told = page.locator("#set-password [data-error=current]", has_text="Enter a password.")
    told.wait_for()
    assert page.locator("#set-password [data-error=password]").inner_text() == "Enter a password."
    red = page.evaluate("getComputedStyle(document.querySelector('.button-danger')).color")
    assert told.evaluate("(p) => getComputedStyle(p).color") == red


def test_an_empty_door_says_beside_each_field_what_it_lacks(visit: Callable[..., Visitor]) -> None:
    page = visit().go("/sign-in", "#email")
    page.fill("#email", "no address")
    page.get_by_role("button", name="Sign in").click()
    page.locator("[data-error=email]", has_text="looks like name@example.org").wait_for()
    assert page.locator("[data-error=password]").inner_text() == "Enter a password."
    assert page.evaluate("document.activeElement.id") == "email"


@pytest.mark.usefixtures("mailing")
def test_signing_up_by_email_asks_for_no_password_and_ends_with_what_to_do(
    visit: Callable[..., Visitor],
) -> None:
    visitor = visit()
    visitor.page.route(
        "**/auth/sign-up",
        lambda route: route.fulfill(json={"signed_in": False, "message": "Look for our e-mail."}),
    )
    page = visitor.go("/sign-up", "#email")
    assert page.locator("#password").count() == 0
    page.fill("#email", "new@studio.example")
    page.get_by_role("button", name="Create the account").click()
    page.get_by_text("Look for our e-mail.").wait_for()
    assert page.locator(".door-form input:visible, .door-form button:visible").count() == 0


def test_who_runs_the_studio_is_told_the_command_that_gives_credits(visit: Callable[..., Visitor]) -> None:
    page = visit("admin").go("/account", ".key-form")
    page.get_by_text("zoetrope credits grant --email admin@studio.example --amount 1000").wait_for()
    page.wait_for_selector(".receipts-list table")
    assert page.locator(".toast").count() == 0
    page = visit("creator").go("/account", ".key-form")
    assert page.get_by_text("zoetrope credits grant").count() == 0
