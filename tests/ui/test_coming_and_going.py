"""Signing in leads to a page of ours, whatever the address says; signing out leaves nothing for the next one."""

from collections.abc import Callable
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Page, WebSocket

from tests.ui.conftest import Visitor
from tests.ui.fake_gateway import ACCOUNTS

pytestmark = pytest.mark.browser

PASSWORD = "projector lamp"
CREATOR, MODERATOR = ACCOUNTS["creator"].email, ACCOUNTS["moderator"].email


def _sign_in(page: Page, url: str, email: str) -> None:
    page.goto(url)
    page.wait_for_selector("html[data-ready]", state="attached")
    page.fill("#email", email)
    page.fill("#password", PASSWORD)
    page.click("form[data-post='/auth/sign-in'] [type=submit]")
    page.wait_for_url(lambda address: "/sign-in" not in urlsplit(address).path)


@pytest.mark.parametrize(
    "wanted",
    [
        "/.//127.0.0.1:9333/",
        "/..//evil.example",
        "/%2e//evil.example",
        "/./%2e%2e//evil.example",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "\\\\evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        "@evil.example",
        "",
    ],
)
def test_no_next_address_leads_elsewhere(served: str, visit: Callable[..., Visitor], wanted: str) -> None:
    page = visit().page
    _sign_in(page, f"{served}/sign-in?next={quote(wanted, safe='')}", CREATOR)
    assert page.url == f"{served}/"


def test_a_next_address_of_ours_is_followed_whole(served: str, visit: Callable[..., Visitor]) -> None:
    page = visit().page
    _sign_in(page, f"{served}/sign-in?next={quote('/gallery?show=all#here', safe='')}", CREATOR)
    assert page.url == f"{served}/gallery?show=all#here"


def test_in_one_tab_nobody_gets_what_the_one_before_had(served: str, visit: Callable[..., Visitor]) -> None:
    page = visit().page
    heard: list[str] = []

    def listen(socket: WebSocket) -> None:
        socket.on("framereceived", lambda frame: heard.append(str(frame)))

    page.on("websocket", listen)
    _sign_in(page, f"{served}/sign-in", CREATOR)
    page.goto(served + "/account")
    page.locator(".facts", has_text=CREATOR).wait_for()
    before = page.evaluate("sessionStorage.getItem('token')")
    page.evaluate("localStorage.setItem('zoetrope.draft', JSON.stringify({prompt: 'mine alone'}))")
    assert any(CREATOR in frame for frame in heard)

    page.click("form[data-post='/auth/sign-out'] [type=submit]")
    page.wait_for_url("**/sign-in")
    page.wait_for_selector("html[data-ready]", state="attached")
    heard.clear()
    _sign_in(page, f"{served}/sign-in", MODERATOR)
    page.goto(served + "/account")
    page.locator(".facts", has_text=MODERATOR).wait_for()
    assert heard
    assert not any(CREATOR in frame for frame in heard)
    assert page.evaluate("sessionStorage.getItem('token')") != before
    assert "mine alone" not in (page.evaluate("localStorage.getItem('zoetrope.draft')") or "")


def test_the_password_that_counts_is_chosen_with_the_letter(
    served: str, visit: Callable[..., Visitor]
) -> None:
    page = visit().page
    page.goto(served + "/confirm?token=abc")
    page.wait_for_selector("html[data-ready]", state="attached")
    page.fill("#password", PASSWORD)
    with page.expect_request("**/auth/confirm") as sent:
        page.get_by_role("button", name="Confirm").click()
    assert sent.value.post_data_json == {"token": "abc", "password": PASSWORD}
