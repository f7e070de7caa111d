"""Under the API's addresses nothing falls through to the pages that are mounted behind it."""

from types import SimpleNamespace

import httpx
import pytest
from starlette.responses import PlainTextResponse

from backend.api.app import create_app
from backend.settings import Settings
from backend.web_process import WebProcess


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("TRACE", "/v1/videos"),
        ("FOO", "/v1/videos"),
        ("PUT", "/v1/videos"),
        ("GET", "/v1"),
        ("GET", "/v1/"),
        ("GET", "/v1/x%0ay"),
        ("GET", "/v1/nothing/x%0d%0a"),
        ("FOO", "/auth/sign-in"),
        ("GET", "/auth/x%0a"),
    ],
)
async def test_what_the_api_does_not_know_gets_its_own_error_body(method: str, path: str) -> None:
    studio = SimpleNamespace(settings=Settings(public_url="http://studio.test"))
    app = create_app(WebProcess(lambda: studio))  # type: ignore[arg-type]  # all that is asked of it here
    app.mount("", PlainTextResponse("a page"))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://studio.test") as http:
        answer = await http.request(method, path)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "not_found"
        assert answer.headers["x-request-id"]
        assert (await http.get("/v10")).text == "a page"
