"""In front of the door: what an open, a closed and an inviting studio say, and what an invitation's link brings."""

from collections.abc import Callable, Iterator
from dataclasses import asdict

import httpx
import pytest

from frontend.views import DoorView
from tests.ui.conftest import Visitor

pytestmark = pytest.mark.browser

BY_INVITATION = DoorView(signup="invitation", place="studio.example")


@pytest.fixture
def front(served: str) -> Iterator[Callable[[DoorView], None]]:
    """Set how one gets in; as before afterwards."""

    def set_it(view: DoorView) -> None:
        httpx.post(f"{served}/fake/front", json=asdict(view)).raise_for_status()

    yield set_it
    set_it(BY_INVITATION)


def test_an_invitations_link_brings_its_code_along(visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    page = visitor.go("/sign-up?invitation=welcome", "#password")
    page.get_by_text("You are invited to studio.example").wait_for()
    assert page.locator("#invitation").count() == 0
    page.fill("#email", "new@studio.example")
    page.fill("#password", "correct horse battery")
    page.get_by_role("button", name="Create the account").click()
    page.wait_for_selector("#prompt")
    assert visitor.complaints == []


def test_an_invitation_that_has_ended_says_so_and_takes_another_code(visit: Callable[..., Visitor]) -> None:
    page = visit().go("/sign-up?invitation=stale", "#invitation")
    page.get_by_text("This invitation was used, has ended").wait_for()
    page.fill("#email", "new@studio.example")
    page.fill("#password", "correct horse battery")
    page.fill("#invitation", "wrong")
    page.get_by_role("button", name="Create the account").click()
    page.locator("[data-error=invitation]", has_text="by invitation").wait_for()


def test_each_wrong_field_is_told_at_once_and_the_first_has_the_focus(visit: Callable[..., Visitor]) -> None:
    page = visit().go("/sign-up", "#invitation")

    def told() -> dict[str, str]:
        rooms = page.locator("[data-error]:not(:empty)")
        return {str(room.get_attribute("data-error")): room.inner_text() for room in rooms.all()}

    page.fill("#email", "nobody")
    page.fill("#password", "short")
    page.get_by_role("button", name="Create the account").click()
    page.locator("[data-error=invitation]:not(:empty)").wait_for()
    assert told() == {
        "email": "That is no e-mail address. It looks like name@example.org.",
        "password": "A password has 12 characters or more.",
        "invitation": "Enter the code that you were given.",
    }
    assert page.evaluate("document.activeElement.id") == "email"
    # What only the studio can tell comes together too.
    page.fill("#email", "new@studio.example")
    page.fill("#password", "aaaaaaaaaaaaaaaa")
    page.fill("#invitation", "wrong")
    page.get_by_role("button", name="Create the account").click()
    page.locator("[data-error=password]", has_text="repeats").wait_for()
    assert told() == {
        "password": "That repeats too few characters.",
        "invitation": "This studio is by invitation.",
    }
    assert page.evaluate("document.activeElement.id") == "password"
    assert page.locator("[aria-invalid]").count() == 2


def test_an_invitation_for_one_address_fills_it_in(
    visit: Callable[..., Visitor], front: Callable[[DoorView], None]
) -> None:
    front(DoorView(signup="invitation", place="studio.example", invited_email="eve@studio.example"))
    page = visit().go("/sign-up?invitation=welcome", "#password")
    assert page.input_value("#email") == "eve@studio.example"
    assert page.get_attribute("#email", "readonly") is not None


def test_a_closed_studio_shows_no_form(
    visit: Callable[..., Visitor], front: Callable[[DoorView], None]
) -> None:
    front(DoorView(signup="closed", place="studio.example"))
    page = visit().go("/sign-up", "h1")
    page.get_by_text("takes no new accounts").wait_for()
    assert page.locator("#password").count() == 0
    page.get_by_role("link", name="To sign in").click()
    page.wait_for_selector("#email")
    page.get_by_text("Forgot your password? Ask whoever runs this studio.").wait_for()
    assert page.get_by_role("link", name="Sign up").count() == 0


def test_an_open_studio_asks_for_no_code(
    visit: Callable[..., Visitor], front: Callable[[DoorView], None]
) -> None:
    front(DoorView(signup="open", place="studio.example", sends_mail=True))
    page = visit().go("/sign-up", "#email")
    page.get_by_text("We e-mail you a link").wait_for()
    assert page.locator("#invitation").count() == 0


def test_without_mail_nobody_is_promised_a_letter(visit: Callable[..., Visitor]) -> None:
    page = visit().go("/sign-in", "#email")
    page.get_by_role("link", name="Sign up").wait_for()
    assert page.locator("a[href='/reset']").count() == 0
    page = visit().go("/reset", ".door-note")
    page.get_by_text("This studio sends no e-mail").wait_for()
    page.get_by_text("zoetrope users link").wait_for()
    assert page.locator("form:visible").count() == 0


def test_with_mail_the_link_to_a_new_password_is_there(
    visit: Callable[..., Visitor], front: Callable[[DoorView], None]
) -> None:
    front(DoorView(signup="invitation", sends_mail=True))
    page = visit().go("/sign-in", "#email")
    page.get_by_role("link", name="Forgot your password?").click()
    page.wait_for_selector(".reset-ask #email")


def test_there_is_nothing_to_press_without_the_emails_token(visit: Callable[..., Visitor]) -> None:
    page = visit().go("/confirm", "h1")
    page.get_by_text("Open the link in the e-mail").wait_for()
    assert page.get_by_role("button", name="Confirm").is_hidden()
    page = visit().go("/confirm?token=abc", "h1")
    assert page.get_by_role("button", name="Confirm").is_visible()


def test_a_password_is_never_put_into_an_address(visit: Callable[..., Visitor]) -> None:
    """A form that is sent before the scripts are there posts, so that what was typed is in no log or history."""
    for address in ("/sign-in", "/sign-up", "/reset?token=abc"):
        page = visit().go(address, "#password")
        methods = page.evaluate(
            "[...document.querySelectorAll('form:has([type=password])')].map((f) => f.method)"
        )
        assert set(methods) == {"post"}, address
