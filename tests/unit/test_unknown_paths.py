"""Under the API's addresses nothing falls through to the pages that are mounted behind it."""

from types import SimpleNamespace

import httpx
import pytest
from starlette.responses import PlainTextResponse

from backend.api.app import create_app
from backend.settings import Settings
from backend.web_process import WebProcess


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("TRACE", "/v1/videos", "GET, POST"),
        ("FOO", "/v1/videos", "GET, POST"),
        ("PUT", "/v1/videos", "GET, POST"),
        ("PUT", "/v1/videos/video_1", "DELETE, GET"),
        ("GET", "/v1", ""),
        ("GET", "/v1/", ""),
        ("GET", "/v1/x%0ay", ""),
        ("GET", "/v1/nothing/x%0d%0a", ""),
        ("FOO", "/auth/sign-in", "POST"),
        ("GET", "/auth/x%0a", ""),
    ],
)
async def test_what_the_api_does_not_know_gets_its_own_error_body(method: str, path: str, allow: str) -> None:
    studio = SimpleNamespace(settings=Settings(public_url="http://studio.test"))
    app = create_app(WebProcess(lambda: studio))  # type: ignore[arg-type]  # all that is asked of it here
    app.mount("", PlainTextResponse("a page"))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://studio.test") as http:
        answer = await http.request(method, path)
        expected = (405, "method_not_allowed") if allow else (404, "not_found")
        assert (answer.status_code, answer.json()["error"]["code"]) == expected
        assert answer.headers.get("allow", "") == allow
        assert answer.headers["x-request-id"]
        assert (await http.get("/v10")).text == "a page"
