"""How the client is built and served: one build for any address, hashed files for good, no torch."""

import http.client
import subprocess
import sys
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from frontend.addresses import plain_addresses
from frontend.caching import cache_built_files
from frontend.same_origin import use_page_origin

ANCHOR = "export const getBackendURL = (url_str) => {\n  const endpoint = new URL(url_str);\n  return endpoint;\n};"


def test_the_client_talks_to_the_address_it_came_from() -> None:
    patched = use_page_origin(ANCHOR)
    assert "endpoint.port = window.location.port" in patched
    assert use_page_origin(patched) == patched


def test_another_reflex_is_noticed_when_the_client_is_built() -> None:
    with pytest.raises(RuntimeError, match="Pin reflex"):
        use_page_origin("export const getBackendURL = () => window.origin;")


async def test_hashed_files_are_kept_for_good_and_pages_are_asked_for_again() -> None:
    app = FastAPI()

    @app.get("/{path:path}")
    def anything(path: str) -> HTMLResponse:
        return HTMLResponse("", headers={"cache-control": "no-store"} if path == "own" else {})

    transport = httpx.ASGITransport(app=cache_built_files(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://studio.test") as client:

        async def policy(path: str) -> str:
            return (await client.get(path)).headers.get("cache-control", "")

        assert "immutable" in await policy("/assets/entry-1f2e.js")
        assert await policy("/js/studio.js") == "no-cache"
        assert await policy("/icons.svg") == "public, max-age=3600"
        assert await policy("/gallery") == "no-cache"
        assert await policy("/own") == "no-store"


async def test_a_page_has_one_address() -> None:
    app = FastAPI()

    @app.get("/gallery/")
    def page() -> HTMLResponse:
        return HTMLResponse("the wall")

    plain = plain_addresses(app, ["/", "/gallery", "/clips/[clip_id]"])
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=plain), base_url="http://studio.test"
    ) as client:
        assert (await client.get("/gallery")).text == "the wall"
        moved = await client.get("/gallery/?show=all")
        assert (moved.status_code, moved.headers["location"]) == (308, "/gallery?show=all")


def _opens_the_event_socket(url: str, origin: str) -> bool:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.request(
        "GET",
        "/_event/?token=probe&EIO=4&transport=websocket",
        headers={
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
            "Origin": origin,
        },
    )
    status = connection.getresponse().status
    connection.close()
    return status == 101


def test_only_our_own_pages_open_the_event_socket(served: str) -> None:
    assert _opens_the_event_socket(served, served)
    assert not _opens_the_event_socket(served, "https://elsewhere.example")


@pytest.mark.parametrize("address", ["/_upload", "/_upload/anything", "/_all_routes"])
def test_reflexs_own_routes_are_closed(served: str, address: str) -> None:
    assert httpx.get(served + address).status_code == 404
    assert httpx.post(served + address).status_code in (404, 405)


@pytest.mark.parametrize("address", ["/v1/x%0ay", "/v1/models/x%0d%0ay"])
def test_an_address_with_a_line_break_is_answered_by_the_api(served: str, address: str) -> None:
    answer = httpx.get(served + address)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json")
    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("address", ["/v1/videos", "/v1/nothing", "/auth/sign-in", "/gallery"])
def test_a_foreign_pages_preflight_is_refused_in_the_apis_form(served: str, address: str) -> None:
    asked = {"origin": "https://elsewhere.example", "access-control-request-method": "POST"}
    answer = httpx.options(served + address, headers=asked)
    assert (answer.status_code, answer.headers["content-type"]) == (403, "application/json")
    assert answer.json()["error"]["code"] == "not_allowed"
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_our_own_pages_preflight_is_answered(served: str) -> None:
    asked = {"origin": served, "access-control-request-method": "POST"}
    answer = httpx.options(served + "/v1/videos", headers=asked)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, served)


def test_options_of_the_server_itself_names_its_methods(served: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(served).netloc, timeout=10)
    connection.request("OPTIONS", "*")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (204, b"")
    assert "POST" in answer.headers["allow"]
    assert answer.headers["x-request-id"].startswith("req_")
    connection.close()


def test_the_web_app_is_imported_without_torch() -> None:
    code = "import sys, frontend.app; sys.exit(sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
