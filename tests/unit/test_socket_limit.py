"""Live connections: how many an address may hold and open, and what they may carry."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import cast

import pytest
from starlette.types import Message, Receive, Scope, Send

from backend.api.socket_limit import SocketLimit, SocketLimits
from backend.settings import Settings
from backend.studio import Studio
from backend.web_process import WebProcess

TOKEN = b"token=8f1c1a52-0f6c-4b0f-9d4f-0c5b1f0a7c11&EIO=4&transport=websocket"


async def echo(_scope: Scope, receive: Receive, send: Send) -> None:
    """Accepts, then repeats what it hears."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message.get("text")})


class Caller:
    """One socket of a client."""

    def __init__(self, limit: SocketLimit, address: str, query: bytes) -> None:
        self._limit = limit
        self._said: asyncio.Queue[Message] = asyncio.Queue()
        self.heard: asyncio.Queue[Message] = asyncio.Queue()
        self.scope: Scope = {
            "type": "websocket", "path": "/_event/", "query_string": query, "headers": [], "client": (address, 5),
        }  # fmt: skip

    async def run(self) -> None:
        await self._limit(self.scope, self._said.get, self.heard.put)

    def say(self, message: Message) -> None:
        self._said.put_nowait(message)

    async def next(self) -> Message:
        async with asyncio.timeout(5):
            return await self.heard.get()


@asynccontextmanager
async def opened(limit: SocketLimit, address: str = "1.2.3.4", query: bytes = TOKEN) -> AsyncIterator[Caller]:
    caller = Caller(limit, address, query)
    task = asyncio.create_task(caller.run())
    caller.say({"type": "websocket.connect"})
    try:
        yield caller
    finally:
        caller.say({"type": "websocket.disconnect", "code": 1000})
        await task


@pytest.fixture
def process() -> WebProcess:
    return WebProcess(lambda: cast(Studio, SimpleNamespace(settings=Settings())))


def limited(process: WebProcess, **limits: float) -> SocketLimit:
    return SocketLimit(echo, process, SocketLimits(**limits))  # type: ignore[arg-type]  # counts are whole here


async def test_one_socket_more_than_an_address_may_hold_is_refused(process: WebProcess) -> None:
    limit = limited(process, an_address=2)
    async with opened(limit) as first, opened(limit) as second:
        assert (await first.next())["type"] == (await second.next())["type"] == "websocket.accept"
        async with opened(limit) as third:
            assert await third.next() == {"type": "websocket.close", "code": 1013}
        async with opened(limit, "5.6.7.8") as other:
            assert (await other.next())["type"] == "websocket.accept"
    async with opened(limit) as again:
        assert (await again.next())["type"] == "websocket.accept"


async def test_neighbours_in_one_ipv6_network_count_as_one(process: WebProcess) -> None:
    limit = limited(process, an_address=1)
    async with opened(limit, "2001:db8::1") as first, opened(limit, "2001:db8::2") as second:
        assert (await first.next())["type"] == "websocket.accept"
        assert (await second.next())["type"] == "websocket.close"


async def test_all_addresses_together_have_a_limit(process: WebProcess) -> None:
    limit = limited(process, at_once=2)
    async with opened(limit, "1.1.1.1"), opened(limit, "2.2.2.2"), opened(limit, "3.3.3.3") as third:
        assert await third.next() == {"type": "websocket.close", "code": 1013}


async def test_opening_and_closing_without_end_is_refused_for_a_while(process: WebProcess) -> None:
    limit = limited(process, opened_a_minute=3)
    answers = []
    for _ in range(5):
        async with opened(limit) as caller:
            answers.append((await caller.next())["type"])
    assert answers == ["websocket.accept"] * 3 + ["websocket.close"] * 2


async def test_an_oversized_query_is_refused(process: WebProcess) -> None:
    async with opened(limited(process), query=TOKEN + b"&a=" + b"x" * 1000) as caller:
        assert await caller.next() == {"type": "websocket.close", "code": 1008}


async def test_an_oversized_message_closes_its_socket(process: WebProcess) -> None:
    limit = limited(process, message_size=100)
    async with opened(limit) as caller:
        await caller.next()
        caller.say({"type": "websocket.receive", "text": "x" * 100})
        assert (await caller.next())["text"] == "x" * 100
        caller.say({"type": "websocket.receive", "text": "x" * 101})
        assert await caller.next() == {"type": "websocket.close", "code": 1009}
    async with opened(limit) as caller:
        await caller.next()
        caller.say({"type": "websocket.receive", "bytes": b"x" * 101, "text": None})
        assert await caller.next() == {"type": "websocket.close", "code": 1009}


def said(number: int) -> Message:
    return {"type": "websocket.receive", "text": str(number)}


async def hear(caller: Caller, most: int) -> list[str]:
    """What is answered until the socket is closed, or `most` answers came."""
    heard = []
    while len(heard) < most and (answer := await caller.next())["type"] == "websocket.send":
        heard.append(str(answer["text"]))
    return heard


async def test_what_comes_faster_than_a_page_sends_is_read_later(process: WebProcess) -> None:
    limit = limited(process, messages=5, messages_a_second=50)
    async with opened(limit) as caller:
        await caller.next()
        for number in range(15):
            caller.say(said(number))
        begun_s = time.monotonic()
        assert await hear(caller, 15) == [str(number) for number in range(15)]
        assert time.monotonic() - begun_s > 0.15, "ten of them at fifty a second"


async def test_a_socket_that_never_stops_is_closed(process: WebProcess) -> None:
    limit = limited(process, messages=5, messages_a_second=50, behind_s=0.1)
    async with opened(limit) as caller, opened(limit) as other:
        await caller.next()
        await other.next()
        for number in range(1000):
            caller.say(said(number))
        assert 5 <= len(await hear(caller, 1000)) < 30
        other.say(said(1))
        assert (await other.next())["text"] == "1"


async def test_an_addresses_sockets_have_a_pace_together(process: WebProcess) -> None:
    limit = limited(process, address_messages=5, address_messages_a_second=50)
    begun_s = time.monotonic()
    for _ in range(3):
        async with opened(limit) as caller:
            await caller.next()
            for number in range(5):
                caller.say(said(number))
            assert len(await hear(caller, 5)) == 5
    assert time.monotonic() - begun_s > 0.15, "a new socket brings no new allowance"
    begun_s = time.monotonic()
    async with opened(limit, "5.6.7.8") as caller:
        await caller.next()
        caller.say(said(1))
        assert len(await hear(caller, 1)) == 1


async def test_a_page_in_use_is_never_slowed(process: WebProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr("backend.api.socket_limit.time.monotonic", lambda: now_s)
    slept: list[float] = []

    async def sleep(duration_s: float) -> None:
        slept.append(duration_s)

    limit = SocketLimit(echo, process)
    async with opened(limit) as caller:
        await caller.next()
        monkeypatch.setattr("backend.api.socket_limit.asyncio.sleep", sleep)
        for number in range(30):  # the page opens
            caller.say(said(number))
            await caller.next()
        for number in range(200):  # then a key is held down, or somebody types
            now_s += 0.11
            caller.say(said(number))
            await caller.next()
    assert set(slept) == {0.0}
