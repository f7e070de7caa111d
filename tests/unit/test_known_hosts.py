"""A page that points its own name at us is not answered; people, programs and probes are, by every name we have."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.types import Message, Receive, Scope, Send

from backend.api.known_hosts import KnownHosts
from backend.settings import Settings

PUBLIC = "https://clips.example.org"


async def ask(
    tmp_path: Path,
    headers: Mapping[str, str],
    *,
    peer: str = "203.0.113.5",
    kind: str = "http",
    **settings: object,
) -> list[Message]:
    """What is sent to somebody who asks with these headers; the app itself says 200."""
    sent: list[Message] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    chosen = Settings(data_dir=tmp_path, **{"public_url": PUBLIC, **settings})  # type: ignore[arg-type]  # as read from the environment
    process = SimpleNamespace(studio=SimpleNamespace(settings=chosen))
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await KnownHosts(app, process)({"type": kind, "client": (peer, 1), "headers": raw}, receive, send)  # type: ignore[arg-type]  # all that is asked of it here
    return sent


async def status(tmp_path: Path, name: str, **more: object) -> int:
    return int((await ask(tmp_path, {"host": name}, **more))[0]["status"])  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize(
    "host",
    [
        "clips.example.org",
        "CLIPS.example.org:443",
        "clips.example.org.",
        "localhost:8400",
        "127.0.0.1:8400",
        "[::1]:8400",
    ],
)
async def test_it_answers_to_its_own_names(tmp_path: Path, host: str) -> None:
    assert await status(tmp_path, host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8400",
        "clips.example.org.evil.example",
        "evil@localhost",
        "localhost#evil.example",
        "localhost/evil",
        "192.0.2.7:8400",
        ":8400",
    ],
)
async def test_it_answers_to_no_other_name_and_says_why(tmp_path: Path, host: str) -> None:
    start, body = await ask(tmp_path, {"host": host})
    assert start["status"] == 400
    error = json.loads(body["body"])["error"]
    assert error["code"] == "unknown_host"
    assert PUBLIC in error["message"]
    assert "ZOETROPE_ALLOWED_HOSTS" in error["message"]


async def test_the_event_socket_is_closed_to_other_names(tmp_path: Path) -> None:
    (closed,) = await ask(tmp_path, {"host": "evil.example"}, kind="websocket")
    assert closed["type"] == "websocket.close"


async def test_a_probe_that_says_no_name_is_answered(tmp_path: Path) -> None:
    assert (await ask(tmp_path, {}))[0]["status"] == 200
    # As granian hands over HTTP/1.0 without a Host.
    assert await status(tmp_path, "") == 200


async def test_further_names_are_the_operators_choice(tmp_path: Path) -> None:
    named = {"allowed_hosts": "studio.internal, Web"}
    assert [await status(tmp_path, host, **named) for host in ("studio.internal:8400", "web", "other")] == [
        200,
        200,
        400,
    ]


async def test_where_it_listens_on_all_addresses_any_number_is_its_own(tmp_path: Path) -> None:
    assert await status(tmp_path, "192.0.2.7:8400", host="0.0.0.0") == 200
    assert await status(tmp_path, "evil.example", host="0.0.0.0") == 400
    assert await status(tmp_path, "192.0.2.7", host="192.0.2.7") == 200


@pytest.mark.parametrize(
    ("peer", "forwarded", "answer"),
    [
        ("10.0.0.1", "clips.example.org", 200),
        ("10.0.0.1", "evil.example, clips.example.org", 200),
        ("10.0.0.1", "evil.example", 400),
        ("203.0.113.5", "clips.example.org", 400),
    ],
)
async def test_what_a_proxy_was_asked_for_is_believed_of_trusted_ones(
    tmp_path: Path, peer: str, forwarded: str, answer: int
) -> None:
    headers = {"host": "upstream:8400", "x-forwarded-host": forwarded}
    sent = await ask(tmp_path, headers, peer=peer, trusted_proxies="10.0.0.0/8")
    assert sent[0]["status"] == answer
