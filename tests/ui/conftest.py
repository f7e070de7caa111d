"""The built client over the fake studio, served by one process for the whole run, and a headless Chromium."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from frontend.build import build
from tests.ui.screenshots import CHROMIUM, FLAGS

REPOSITORY = Path(__file__).resolve().parent.parent.parent
UP_WITHIN_S = 90.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def served() -> Iterator[str]:
    """The address of the fake studio that most tests share."""
    with serving(free_port()) as url:
        yield url


@contextmanager
def serving(port: int) -> Iterator[str]:
    """A fake studio of one's own, to be stopped and started."""
    build()
    folder = tempfile.mkdtemp(prefix="zoe-ui-")
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "__REFLEX_MOUNT_FRONTEND_COMPILED_APP": "true",
        "__REFLEX_SKIP_COMPILE": "true",
        "REFLEX_ENV_MODE": "prod",
        "ZOETROPE_PORT": str(port),
        "ZOETROPE_FAKE_CLIPS": folder,
    }
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--factory", "--port", str(port)]
    command += ["--workers-kill-timeout", "5"]
    with open(Path(folder) / "server.log", "wb") as log:
        server = subprocess.Popen(
            [*command, "tests.ui.fake_app:app"],
            cwd=REPOSITORY,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_up(url, server, Path(folder) / "server.log")
        yield url
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_up(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + UP_WITHIN_S
    while time.monotonic() < until:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url + "/sign-in", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise AssertionError(f"the fake studio did not come up: {log.read_text()}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for one module: while playwright is open, its loop runs, and no other test could run one."""
    with sync_playwright() as playwright:
        path = CHROMIUM if Path(CHROMIUM).exists() else None
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


class Visitor:
    """A page of one person; what the browser complained about is in `complaints`."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: said.type == "error" and self.complaints.append(said.text))

    def go(self, address: str, awaited: str) -> Page:
        self.page.goto(self.url + address)
        self.page.wait_for_selector(awaited)
        return self.page


@pytest.fixture
def visit(served: str, browser: Browser) -> Iterator[Callable[..., Visitor]]:
    """Open a page as somebody: `visit("creator", width=390, reduced_motion="reduce")`."""
    contexts = []

    def open_as(who: str = "", *, width: int = 1280, height: int = 900, **options: object) -> Visitor:
        # Playwright evaluates what it waits for, which the pages' policy forbids; test_policy.py enforces it.
        options.setdefault("bypass_csp", True)
        context = browser.new_context(viewport={"width": width, "height": height}, **options)  # type: ignore[arg-type]  # playwright's own options
        contexts.append(context)
        if who:
            context.add_cookies([{"name": "zoetrope_session", "value": who, "url": served}])
        context.set_default_timeout(20_000)
        return Visitor(context.new_page(), served)

    yield open_as
    for context in contexts:
        context.close()
