"""Every page asks its own origin alone, and runs nothing that isn't ours: no code of the server's, none injected."""

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Error, Page

from backend.api.app import create_app
from backend.api.reference import POLICY, render
from frontend.build import CLIENT
from frontend.no_eval import call_by_name
from frontend.pages import PAGES
from frontend.policy import Hashes, hashes_of, policy
from tests.ui.conftest import Visitor

# What is on its own address must also come up when its policy is enforced.
ADDRESSES = [
    page.route.replace("[clip_id]", "video_0001")
    for page in PAGES
    if "[" not in page.route or "clip_id" in page.route
]
BROKEN = """
window.__broken = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.__broken.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
  document.documentElement.dataset.broken = window.__broken.length;
});
"""


def _watched(visitor: Visitor) -> tuple[Page, set[str]]:
    page = visitor.page
    page.add_init_script(BROKEN)
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(request.url))
    page.on("websocket", lambda socket: asked.add(socket.url))
    return page, asked


def _foreign(asked: set[str], home: str) -> list[str]:
    own = urlsplit(home).netloc
    return [url for url in asked if not url.startswith(("data:", "blob:")) and urlsplit(url).netloc != own]


def _broken(page: Page) -> object:
    """What the page broke of its policy. A stranger may be on the way to the door just now: then there."""
    try:
        return page.evaluate("window.__broken")
    except Error:
        page.wait_for_selector("html[data-ready]")
        return page.evaluate("window.__broken")


@pytest.mark.parametrize("who", ["moderator", "creator", ""])
def test_every_page_asks_its_own_origin_alone_and_breaks_no_rule(
    served: str, visit: Callable[..., Visitor], who: str
) -> None:
    page, asked = _watched(visit(who, bypass_csp=False))
    for address in ADDRESSES:
        page.goto(served + address)
        page.wait_for_selector("html[data-ready]")
        page.wait_for_selector("h1")
        # The socket is up and a handler's answer has come: calls of the server's were made.
        page.wait_for_load_state("networkidle")
        assert _broken(page) == [], address
    # Once more from the browser's cache: an answer of 304 changes the headers of what was kept.
    for address in ADDRESSES[:2]:
        page.goto(served + address)
        page.wait_for_selector("html[data-ready]")
        assert _broken(page) == [], address
    assert _foreign(asked, served) == []
    assert any(url.startswith("ws") for url in asked)


def test_the_apis_page_too(served: str, visit: Callable[..., Visitor]) -> None:
    page, asked = _watched(visit("creator", bypass_csp=False))
    body = render(create_app().openapi(), base_url=served)
    headers = {"content-type": "text/html; charset=utf-8", "content-security-policy": POLICY}
    page.route("**/docs/api", lambda route: route.fulfill(status=200, headers=headers, body=body))
    page.goto(served + "/docs/api")
    page.wait_for_selector("section h3")
    page.wait_for_load_state("networkidle")
    assert page.evaluate("window.__broken") == []
    assert _foreign(asked, served) == []
    assert page.evaluate("getComputedStyle(document.body).maxWidth") != "none"


def test_each_page_carries_the_hashes_of_what_is_inside_it(served: str) -> None:
    hashes = hashes_of(CLIENT)
    assert len(hashes.scripts) > 5
    for address in (*ADDRESSES, "/nowhere/at/all"):
        answer = httpx.get(served + address)
        said = answer.headers["content-security-policy"]
        assert said == policy(hashes, urlsplit(served).netloc)
        script_rule = next(rule for rule in said.split("; ") if rule.startswith("script-src "))
        assert "unsafe" not in script_rule


def test_a_script_that_got_into_a_page_does_not_run(served: str, visit: Callable[..., Visitor]) -> None:
    page, _asked = _watched(visit("creator", bypass_csp=False))
    page.goto(served + "/gallery")
    page.wait_for_selector("html[data-ready]")
    page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.__ran = true";
          document.body.append(script);
          const image = document.createElement("div");
          image.innerHTML = '<img src="data:," onerror="window.__ran = true">';
          document.body.append(image);
        }"""
    )
    page.wait_for_selector("html[data-broken='2']")
    assert page.evaluate("window.__ran") is None
    # Later: what the test itself asks of the browser may evaluate.
    page.evaluate(
        """() => void setTimeout(() => {
          try {
            new Function("window.__ran = true")();
          } catch (refused) {
            document.documentElement.dataset.refused = refused.name;
          }
        })"""
    )
    page.wait_for_selector("html[data-refused=EvalError]")
    assert page.evaluate("window.__ran") is None


def test_what_comes_from_a_bucket_is_let_in_by_its_origin() -> None:
    said = policy(Hashes(), "studio.test", "https://clips.s3.example")
    for rule in ("img-src", "media-src", "connect-src"):
        assert "https://clips.s3.example" in next(part for part in said.split("; ") if part.startswith(rule))


@pytest.mark.parametrize("host", ["evil.example; script-src *", "a b", ""])
def test_a_hosts_name_never_adds_a_rule(host: str) -> None:
    assert policy(Hashes(), host) == policy(Hashes(), "")


def test_another_reflex_is_noticed_when_the_client_is_built() -> None:
    with pytest.raises(RuntimeError, match="Pin reflex"):
        call_by_name("const applyEvent = () => eval('1');")


def test_the_client_evaluates_no_script_of_the_servers() -> None:
    source = (Path(CLIENT).parent.parent / "utils" / "state.js").read_text()
    assert "eval(event.payload.javascript_code)" not in source
    assert call_by_name(source) == source


def test_only_one_module_sends_calls_and_none_sends_code(repository: Path) -> None:
    senders = [
        path.name
        for path in (repository / "frontend").rglob("*.py")
        if re.search(r"\brx\.(call_script|call_function|run_script)\(", path.read_text())
    ]
    assert senders == ["browser.py"]
