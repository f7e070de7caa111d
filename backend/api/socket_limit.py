"""How many live connections an address may hold and open, and how large and how many their messages may be.

Anybody may open one: the sign-in page is a page as well.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.api.client_address import client_address
from backend.log import get_logger
from backend.web_process import WebProcess

log = get_logger(__name__)

TRY_LATER = 1013
POLICY_VIOLATION = 1008
MESSAGE_TOO_LARGE = 1009
WINDOW_S = 60.0


@dataclass(frozen=True, kw_only=True)
class SocketLimits:
    """An address is an IPv6 /64, or an office behind one IPv4 address: many people with several tabs each.

    A page's messages have 1 to 6 KB; the query carries a tab's token and the protocol's version. `message_size`: in
    characters or bytes, as it comes.

    A page sends a few messages when it opens, then one a click, an answer or a pause in typing. What comes faster is
    read later; a socket that goes on so for `behind_s` is closed: its page opens it again and reads everything anew.
    """

    at_once: int = 2_000
    an_address: int = 100
    opened_a_minute: int = 600
    query_bytes: int = 512
    message_size: int = 64 * 1024
    messages: float = 40
    messages_a_second: float = 10
    address_messages: float = 600
    address_messages_a_second: float = 60
    behind_s: float = 5.0


class _Pace:
    """So many at once, then so many a second."""

    def __init__(self, burst: float, a_second: float) -> None:
        self._burst = burst
        self._a_second = a_second
        self._left = burst
        self._at_s = time.monotonic()

    def take(self) -> float:
        """Count one. Returns after how many seconds it may be read."""
        now_s = time.monotonic()
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._a_second) - 1
        self._at_s = now_s
        return max(0.0, -self._left / self._a_second)

    def is_whole(self) -> bool:
        """Whether it is as one that was never used."""
        return self._left + (time.monotonic() - self._at_s) * self._a_second >= self._burst


class SocketLimit:
    """ASGI middleware around the pages' event socket."""

    def __init__(self, app: ASGIApp, process: WebProcess, limits: SocketLimits | None = None) -> None:
        self.app = app
        self._process = process
        self._limits = limits or SocketLimits()
        self._open: Counter[str] = Counter()
        self._opened: Counter[str] = Counter()
        self._said: set[str] = set()
        self._paces: dict[str, _Pace] = {}
        self._window_ends_at_s = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a socket in, or refuse it before its handshake is answered."""
        if scope["type"] != "websocket":
            await self.app(scope, receive, send)
            return
        address = client_address(HTTPConnection(scope), self._process.studio.settings.trusted_proxies)
        if (code := self._refusal(scope, address)) is not None:
            await receive()
            await send({"type": "websocket.close", "code": code})
            return
        self._open[address] += 1
        limits = self._limits
        together = self._paces.setdefault(
            address, _Pace(limits.address_messages, limits.address_messages_a_second)
        )
        try:
            await self.app(scope, self._bounded(receive, send, together), send)
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]

    def _refusal(self, scope: Scope, address: str) -> int | None:
        """The code to close with, or None."""
        now_s = time.monotonic()
        if now_s >= self._window_ends_at_s:
            self._opened.clear()
            self._said.clear()
            self._paces = {
                known: pace
                for known, pace in self._paces.items()
                if known in self._open or not pace.is_whole()
            }
            self._window_ends_at_s = now_s + WINDOW_S
        self._opened[address] += 1
        limits = self._limits
        if len(scope["query_string"]) > limits.query_bytes:
            return POLICY_VIOLATION
        for limit, reached in (
            ("at_once", self._open.total() >= limits.at_once),
            ("an_address", self._open[address] >= limits.an_address),
            ("opened_a_minute", self._opened[address] > limits.opened_a_minute),
        ):
            if reached:
                self._say("socket.refused", limit)
                return TRY_LATER
        return None

    def _bounded(self, receive: Receive, send: Send, together: _Pace) -> Receive:
        limits = self._limits
        own = _Pace(limits.messages, limits.messages_a_second)
        behind_s = 0.0

        async def bounded() -> Message:
            nonlocal behind_s
            message = await receive()
            if message["type"] != "websocket.receive":
                return message
            if len(message.get("text") or "") + len(message.get("bytes") or b"") > limits.message_size:
                self._say("socket.closed", "message_size")
                return await _close(send, MESSAGE_TOO_LARGE)
            wait_s = own.take()
            behind_s = behind_s + wait_s if wait_s else 0.0
            if behind_s > limits.behind_s:
                self._say("socket.closed", "messages")
                return await _close(send, POLICY_VIOLATION)
            await asyncio.sleep(max(wait_s, together.take()))
            return message

        return bounded

    def _say(self, event: str, limit: str) -> None:
        """Once a minute for each limit: anybody can reach one."""
        if limit not in self._said:
            self._said.add(limit)
            log.warning(event, limit=limit)


async def _close(send: Send, code: int) -> Message:
    await send({"type": "websocket.close", "code": code})
    return {"type": "websocket.disconnect", "code": code}
