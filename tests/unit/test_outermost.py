"""Every answer carries the security headers, and none takes a page's own policy away."""

import pytest
from starlette.types import Message, Receive, Scope, Send

from backend.api.outermost import Outermost


async def _headers(status: int, policy: str = "") -> dict[bytes, bytes]:
    sent: list[Message] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"content-security-policy", policy.encode())] if policy else []
        await send({"type": "http.response.start", "status": status, "headers": headers})

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": "http", "method": "GET", "scheme": "http", "headers": [], "path": "/"}
    await Outermost(app)(scope, receive, send)
    return dict(sent[0]["headers"])


@pytest.mark.parametrize("status", [200, 404, 302])
async def test_what_is_no_page_may_load_nothing(status: int) -> None:
    headers = await _headers(status)
    assert b"default-src 'none'" in headers[b"content-security-policy"]
    assert headers[b"x-content-type-options"] == b"nosniff"


async def test_an_answers_own_policy_stays() -> None:
    assert (await _headers(200, "default-src 'self'"))[b"content-security-policy"] == b"default-src 'self'"


async def test_not_modified_says_no_policy_for_the_browser_would_put_it_on_the_kept_page() -> None:
    headers = await _headers(304)
    assert b"content-security-policy" not in headers
    assert b"x-frame-options" in headers
