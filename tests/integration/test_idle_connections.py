"""Connections that say nothing, on the web process's own server."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator

import httpx
import pytest

from backend.parts import PARTS
from backend.settings import Settings
from tests.ui.raw_socket import raw_socket

APP = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": message["type"] + ".complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
    else:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

def make():
    return app
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The web process's command over an app that does nothing, with a second in place of ten."""
    folder = tmp_path_factory.mktemp("idle")
    (folder / "small.py").write_text(APP)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (web,) = [part for part in PARTS if part.name == "web"]
    command = web.command(Settings(data_dir=folder, host="127.0.0.1", port=port))
    command[command.index("--http1-header-read-timeout") + 1] = "1000"
    process = subprocess.Popen([*command[:-1], "small:make"], cwd=folder)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert process.poll() is None
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url).is_success:
                return
        time.sleep(0.1)
    raise AssertionError("it did not come up")


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nhost: a"], ids=["nothing", "half a head"])
def test_who_never_sends_a_head_is_hung_up_on(server: str, begun: bytes) -> None:
    with socket.create_connection(("127.0.0.1", int(server.rpartition(":")[2])), timeout=20) as idle:
        if begun:
            idle.sendall(begun)
        while idle.recv(1000):
            pass


def test_a_live_connection_stays(server: str) -> None:
    with raw_socket(server, token="a") as page:
        assert page.accepted
        page._wire.settimeout(3)
        with pytest.raises(TimeoutError):
            page.wait_for("nothing")
